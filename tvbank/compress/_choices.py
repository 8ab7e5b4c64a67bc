"""What can be kept of one unit, its cost and its harm: every step and number of levels.

Of a task vector tau and what stands for it, let c be the cosine of the angle between them, so that
t = tan² = 1 / c² - 1 is the energy of what is added beside the direction of tau, at full length
along it. A share a of that length harms by

    r (1 - a)² + a² t,        least at a = r / (r + t), where it is r t / (r + t).

r = 1 would be the plain squared error: a the least squares scale. A larger r says that the
direction in which a model was trained matters more than another one of the same length, which it
does: those were steps down a loss.

Most of t is noise of the drawing. What entries lose that are above the highest level is not: they
err alike, and what they add to t counts many times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._draw import Draw
from tvbank.compress._magnitudes import Magnitudes

# Chosen on the training data of seven fine-tunes of two models (spec/decisions, "Budgets").
#: r.
_RATIO: Final = 512.0
#: How many times more an error harms that is no noise.
_ALIKE: Final = 32.0

#: Levels that are tried: as many as codes of a whole number of bits tell apart with their sign.
_LEVELS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
#: Steps that are tried, an octave; and octaves below the one that reaches the largest entry.
_STEPS, _OCTAVES = 8, 8
#: Bins that are taken at once.
_BLOCK: Final = 256


@final
@dataclass(frozen=True, eq=False)
class Choices:
    """The choices for one unit; the first keeps nothing.

    Attributes:
        levels: int64 [c]; 0 for nothing.
        steps: float64 [c].
        sizes: float64 [c], what a step becomes.
        kept: float64 [c], entries that are kept, on average.
        harm: float64 [c], as a share of the harm of keeping nothing.
    """

    levels: NDArray[np.int64]
    steps: NDArray[np.float64]
    sizes: NDArray[np.float64]
    kept: NDArray[np.float64]
    harm: NDArray[np.float64]


def list_choices(spread: Magnitudes) -> Choices:
    """All choices for a unit whose magnitudes are spread so; steps ascend at each level."""
    zero = np.zeros(1)
    parts = [Choices(np.zeros(1, np.int64), zero, zero, zero, np.ones(1))]
    if len(spread.bins):
        parts += [weigh(spread, levels, _steps(spread, levels)) for levels in _LEVELS]
    return Choices(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("levels", "steps", "sizes", "kept", "harm")
        )
    )


def weigh(spread: Magnitudes, levels: int, steps: NDArray[np.float64]) -> Choices:
    """What drawing to some levels comes to, for each step."""
    means = spread.sums / spread.counts
    # Expected: entries kept; the sum of what each becomes times what it was; the squares of what
    # they become on average; the noise.
    kept, along, squares, noise = np.zeros((4, len(steps)))
    for start in range(0, len(means), _BLOCK):
        part = slice(start, start + _BLOCK)
        counts, sums = spread.counts[part], spread.sums[part]
        reached = np.minimum(means[part] / steps[:, None], levels)
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
    return Choices(np.full(len(steps), levels), steps, sizes, kept, 1 - share)


def draw_with(spread: Magnitudes, levels: int, step: float) -> Draw:
    """How to draw with a step that is not among the choices."""
    return Draw(step, levels, float(weigh(spread, levels, np.array([step])).sizes[0]))


def _steps(spread: Magnitudes, levels: int) -> NDArray[np.float64]:
    """Up to what reaches the largest entry; with one level, up to where one entry is kept."""
    largest = spread.sums[0] / spread.counts[0]
    octaves = np.log2(spread.sums.sum() / largest) if levels == 1 else 0
    numbers = np.arange(-_OCTAVES * _STEPS, int(octaves * _STEPS) + 1)
    found: NDArray[np.float64] = largest / levels * np.exp2(numbers / _STEPS)
    return found
