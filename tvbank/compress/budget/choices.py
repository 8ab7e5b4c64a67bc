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

Harm is summed over bins of magnitudes, counted in one pass: a bin is what the upper 14 bits below
the sign of a float32 pattern distinguish, 64 bins an octave.
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
#: r.
_RATIO: Final = 512.0
#: How many times more an error harms that is no noise.
_ALIKE: Final = 32.0

#: Levels that are tried: as many as codes of so many bits distinguish, with their sign.
_LEVELS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
#: Steps that are tried, an octave; and octaves below the one that reaches the largest entry.
_STEPS, _OCTAVES = 8, 8
#: Bins that are taken at once.
_BLOCK: Final = 256

#: Bits of a pattern below those that choose its bin.
_SHIFT: Final = 17
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


def count_magnitudes(delta: Difference, rows: Rows, power: int, each: Each) -> Magnitudes:
    """Survey a unit.

    Args:
        delta: its entries.
        rows: their factors.
        power: what is to be drawn, an index into ``HALVES``.
        each: spreads ranges of it over cores.
    """
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for some, partial_sums in each(partial(_count_range, delta, rows, power), delta.ranges()):
        counts += some
        sums += partial_sums
    bins = np.flatnonzero(counts)[::-1]
    drawn, plain = sums[bins].T
    return Magnitudes(power, counts[bins], drawn / counts[bins], plain, rows.energy)


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
    """

    powers: NDArray[np.int64]
    levels: NDArray[np.int64]
    steps: NDArray[np.float64]
    sizes: NDArray[np.float64]
    kept: NDArray[np.float64]
    harm: NDArray[np.float64]


def list_choices(spreads: Sequence[Magnitudes]) -> Choices:
    """All choices for a unit; powers above the first are drawn to one level only.

    Args:
        spreads: by power; steps ascend at each power and level.
    """
    none, zero = np.zeros(1, np.int64), np.zeros(1)
    parts = [Choices(none, none, zero, zero, zero, np.ones(1))]
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
    for start in range(0, len(spread.counts), _BLOCK):
        part = slice(start, start + _BLOCK)
        counts, sums = spread.counts[part], spread.sums[part]
        reached = np.minimum(spread.means[part] / steps[:, None], levels)
        above = reached - np.floor(reached)
        kept += np.minimum(reached, 1) @ counts
        along += reached @ sums
        squares += reached**2 @ counts
        noise += (above * (1 - above)) @ counts
    alike = np.maximum(spread.energy * squares / along**2 - 1, 0)
    drawn = spread.energy * noise / along**2
    tangent = _ALIKE * alike + drawn
    share = _RATIO / (_RATIO + tangent)
    limits = np.finfo(np.float32)
    sizes = np.clip(share * spread.energy / along, limits.smallest_subnormal, limits.max)
    same = np.ones(len(steps), np.int64)
    return Choices(spread.power * same, levels * same, steps, sizes, kept, 1 - share)


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


def _count_range(
    delta: Difference, rows: Rows, power: int, part: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for start, block in delta.blocks(part):
        _count(block, start, rows.width, HALVES[power], rows.factors[power], counts, sums)
    return counts, sums


@kernel
def _count(
    delta: Any, start: int, width: int, halves: int, factors: Any, counts: Any, sums: Any
) -> None:
    score = np.empty(1, np.float32)
    pattern = score.view(np.uint32)
    greatest = np.float64(np.finfo(np.float32).max)
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        factor = factors[row]
        for i in range(at, stop):
            magnitude = np.float64(np.abs(delta[i]))
            if magnitude > 0:
                drawn = raised(magnitude, halves) * factor
                score[0] = np.float32(min(drawn, greatest))
                place = np.int64(pattern[0] >> np.uint32(_SHIFT))
                counts[place] += 1
                sums[place, 0] += drawn
                sums[place, 1] += magnitude
        at = stop
