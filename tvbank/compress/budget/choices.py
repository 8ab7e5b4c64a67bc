"""What can be kept of one unit, and its harm: every power, number of levels and step.

Of a task vector tau and what stands for it, let c be the cosine of the angle between them, so that
t = tan² = 1 / c² - 1 is the energy of what is added beside the direction of tau, at full length
along it. A share a of that length harms by

    r (1 - a)² + a² t,        least at a = r / (r + t), where it is r t / (r + t).

r = 1 would be the plain squared error: a the least squares scale. A larger r says that the
direction in which a model was trained matters more than another one of the same length, which it
does: those were steps down a loss.

Most of t is noise of the drawing. What entries lose that are above the highest level is not, nor
what they lose if a higher power of them is drawn: they err alike, and what that adds to t counts
many times.

Harm is summed over bins of magnitudes, counted in one pass: a bin is what the upper 13 bits below
the sign of a float32 pattern distinguish, 32 bins an octave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress.budget.drawing import HALVES, Draw, Rows, raised
from tvbank.compress.lossy import Difference
from tvbank.compress.protocol import Each

# Chosen on the training data of seven fine-tunes of two models (docs/measured/budgets.md).
#: r above.
_RATIO: Final = 512.0
#: How many times more an error that is no noise adds to t.
_ALIKE: Final = 32.0

#: Levels that are tried: as many as codes of so many bits distinguish, with their sign.
_LEVELS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
#: Steps that are tried, an octave; and octaves below the one that reaches the largest entry.
_STEPS, _OCTAVES = 8, 8
#: Bins that are taken at once.
_BLOCK: Final = 256

#: Bits of a pattern below those that choose its bin.
_SHIFT: Final = 18
BINS: Final = 1 << (31 - _SHIFT)


@final
@dataclass(frozen=True, eq=False)
class Magnitudes:
    """The bins that hold entries, from the largest down; zeros are in none.

    Attributes:
        power: what is drawn, an index into ``HALVES``.
        counts: int64 [b], entries in each.
        means: float64 [b], mean of what is drawn of them.
        sums: float64 [b], sum of their magnitudes.
        energy: sum of the squares of the unit's magnitudes.
    """

    power: int
    counts: NDArray[np.int64]
    means: NDArray[np.float64]
    sums: NDArray[np.float64]
    energy: float


def count_magnitudes(delta: Difference, rows: Rows, each: Each) -> list[Magnitudes]:
    """Survey a unit, for each power that can be drawn.

    Args:
        delta: its entries.
        rows: their factors.
        each: spreads ranges of it over cores.
    """
    counts, sums = _empty()
    for some, partial_sums in each(partial(_count_range, delta, rows), delta.ranges()):
        counts += some
        sums += partial_sums
    found = []
    for power in range(len(HALVES)):
        bins = np.flatnonzero(counts[power])[::-1]
        drawn, plain = sums[power, bins].T
        number = counts[power, bins]
        found.append(Magnitudes(power, number, drawn / number, plain, rows.energy))
    return found


@final
@dataclass(frozen=True, eq=False)
class Choices:
    """The choices for one unit; the first keeps nothing.

    Attributes:
        powers: int64 [c], what is drawn: indices into ``HALVES``.
        levels: int64 [c]; 0 for nothing.
        steps: float64 [c].
        sizes: float64 [c], what a step becomes.
        kept: float64 [c], entries that are kept, on average.
        harm: float64 [c], as a share of the harm of keeping nothing.
        lost: float64 [c], sum of the squares of all errors, on average, as a share of the unit's;
            of what is drawn, mostly above 1.
    """

    powers: NDArray[np.int64]
    levels: NDArray[np.int64]
    steps: NDArray[np.float64]
    sizes: NDArray[np.float64]
    kept: NDArray[np.float64]
    harm: NDArray[np.float64]
    lost: NDArray[np.float64]


def list_choices(spreads: Sequence[Magnitudes]) -> Choices:
    """All choices for a unit; powers above the first are drawn to one level only.

    Args:
        spreads: by power; steps ascend at each power and level.
    """
    none, zero = np.zeros(1, np.int64), np.zeros(1)
    parts = [Choices(none, none, zero, zero, zero, np.ones(1), np.ones(1))]
    for spread in spreads:
        for levels in _LEVELS if spread.power == 0 else (1,):
            if len(spread.counts):
                parts.append(weigh(spread, levels, _steps(spread, levels)))
    return Choices(
        *(np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Choices))
    )


def weigh(spread: Magnitudes, levels: int, steps: NDArray[np.float64]) -> Choices:
    """The cost and harm of drawing to some levels, for each step."""
    # Expected: entries kept; the sum of what each becomes times what it was; the squares of what
    # they become on average; the noise.
    kept, along, squares, noise = np.zeros((4, len(steps)))
    memory = np.empty(4 * len(steps) * min(_BLOCK, len(spread.counts)))
    for start in range(0, len(spread.counts), _BLOCK):
        part = slice(start, start + _BLOCK)
        counts, sums = spread.counts[part].astype(np.float64), spread.sums[part]
        each = memory[: 4 * len(steps) * len(counts)].reshape(4, len(steps), len(counts))
        _reach(spread.means[part], steps, float(levels), *each)
        kept += each[0] @ counts
        along += each[1] @ sums
        squares += each[2] @ counts
        noise += each[3] @ counts
    alike = np.maximum(spread.energy * squares / along**2 - 1, 0)
    drawn = spread.energy * noise / along**2
    tangent = _ALIKE * alike + drawn
    share = _RATIO / (_RATIO + tangent)
    limits = np.finfo(np.float32)
    sizes = np.clip(share * spread.energy / along, limits.smallest_subnormal, limits.max)
    same = np.ones(len(steps), np.int64)
    lost = (1 - share) ** 2 + share**2 * (alike + drawn)
    return Choices(spread.power * same, levels * same, steps, sizes, kept, 1 - share, lost)


@kernel
def _reach(
    means: Any, steps: Any, levels: float, kept: Any, reached: Any, squares: Any, noise: Any
) -> None:
    """Of each step and bin, [s, b]: the share that is kept, the level, its square, its variance."""
    for row in range(len(steps)):
        for bin in range(len(means)):
            level = min(means[bin] / steps[row], levels)
            above = level - np.floor(level)
            kept[row, bin] = min(level, 1.0)
            reached[row, bin] = level
            squares[row, bin] = level * level
            noise[row, bin] = above * (1.0 - above)


def draw_with(spread: Magnitudes, levels: int, step: float) -> Draw:
    """How to draw with a step that is not among the choices."""
    return Draw(spread.power, step, levels, float(weigh(spread, levels, np.array([step])).sizes[0]))


def _steps(spread: Magnitudes, levels: int) -> NDArray[np.float64]:
    """Up to what reaches the largest entry; with one level, up to where one entry is kept."""
    largest = spread.means[0]
    octaves = np.log2(spread.means @ spread.counts / largest) if levels == 1 else 0
    numbers = np.arange(-_OCTAVES * _STEPS, int(octaves * _STEPS) + 1)
    steps: NDArray[np.float64] = largest / levels * np.exp2(numbers / _STEPS)
    return steps


def _empty() -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Entries in each bin of each power; sums of what is drawn of them, and of them."""
    powers = len(HALVES)
    return np.zeros((powers, BINS), np.int64), np.zeros((powers, BINS, 2))


def _count_range(
    delta: Difference, rows: Rows, part: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts, sums = _empty()
    for start, block in delta.blocks(part):
        _count(block, start, rows.width, rows.factors, counts, sums)
    return counts, sums


@kernel
def _enter(magnitude: float, drawn: float, counts: Any, sums: Any) -> None:
    score = np.float32(min(drawn, np.float64(np.finfo(np.float32).max)))
    place = np.int64(score.view(np.uint32) >> np.uint32(_SHIFT))
    counts[place] += 1
    sums[place, 0] += drawn
    sums[place, 1] += magnitude


@kernel
def _count(delta: Any, start: int, width: int, factors: Any, counts: Any, sums: Any) -> None:
    first, second, third = counts[0], counts[1], counts[2]
    first_sums, second_sums, third_sums = sums[0], sums[1], sums[2]
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        f, g, h = factors[0, row], factors[1, row], factors[2, row]
        for i in range(at, stop):
            magnitude = np.float64(np.abs(delta[i]))
            if magnitude > 0:
                _enter(magnitude, raised(magnitude, 2) * f, first, first_sums)
                _enter(magnitude, raised(magnitude, 3) * g, second, second_sums)
                _enter(magnitude, raised(magnitude, 4) * h, third, third_sums)
        at = stop
