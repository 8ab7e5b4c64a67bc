"""What can be kept of one unit: for every threshold and number of levels, its cost and its harm.

A kept entry becomes ``scale`` times the mean magnitude of its level, with its sign. Of a task
vector tau and what stands for it, let c be the cosine of the angle between them, so that
t = tan² = 1 / c² - 1 is the energy of what is added beside the direction of tau, at full length
along it. A share a of that length harms by

    r (1 - a)² + a² t,        least at a = r / (r + t), where it is r t / (r + t).

r = 1 is the plain squared error: a is the least squares scale. A larger r says that the direction
in which a model was trained matters more than another one of the same length, which it does: those
were steps down a loss. Towards r = infinity the length along tau is restored in full.
Lengths and angles are those of entries times the factors of their rows (``_rows.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress._magnitudes import BINS, Magnitudes

#: Magnitudes a sign that entries can be given, where there are several.
SEVERAL: Final = (2, 4, 8, 16, 32, 64, 128)
#: Of several levels, only every so many thresholds are tried.
_STRIDE: Final = 16


@final
@dataclass(frozen=True, eq=False)
class Choices:
    """The choices for one unit; the first keeps nothing.

    Attributes:
        thresholds: int64 [c], how many bins are kept.
        levels: int64 [c], magnitudes a sign; at one level the bins are of scores.
        kept: int64 [c], entries that are kept.
        harm: float64 [c], as a share of the harm of keeping nothing.
    """

    thresholds: NDArray[np.int64]
    levels: NDArray[np.int64]
    kept: NDArray[np.int64]
    harm: NDArray[np.float64]


def list_choices(by_score: Magnitudes, plain: Magnitudes, ratio: float) -> Choices:
    """All choices for a unit.

    Args:
        by_score: its entries in bins of scores, for one level.
        plain: its entries in bins of magnitudes, for several.
        ratio: r, at least 1.
    """
    bins = len(by_score.bins)
    every = np.arange(1, bins + 1)
    thresholds, levels = (
        [np.zeros(1, np.int64), every],
        [np.zeros(1, np.int64), np.ones_like(every)],
    )
    kept = [np.zeros(1, np.int64), by_score.kept]
    sums, weights = np.cumsum(by_score.sums), np.cumsum(by_score.weights)
    captured = [np.zeros(1), sums**2 / weights]
    last = len(plain.bins)
    some = np.unique(np.append(np.arange(_STRIDE, last, _STRIDE), last)) if last else every
    for count in SEVERAL if last else ():
        thresholds.append(some)
        levels.append(np.full_like(some, count))
        kept.append(plain.kept[some - 1])
        captured.append(np.array([_captured(plain, int(stop), count) for stop in some]))
    cosine = np.minimum(np.concatenate(captured) / (by_score.energy or 1.0), 1.0)
    harm = (1 - cosine) / (1 - cosine + ratio * cosine)  # t / (r + t)
    return Choices(np.concatenate(thresholds), np.concatenate(levels), np.concatenate(kept), harm)


def values_of(unit: Magnitudes, threshold: int, levels: int, ratio: float) -> NDArray[np.float32]:
    """The magnitude that entries of each bin get, float32 [2^14]; 0 where they are dropped."""
    values = np.zeros(BINS, np.float32)
    if threshold:
        starts = _level_starts(unit, threshold, levels)
        means, captured = _means(unit, threshold, starts)
        tangent = max(unit.energy / captured - 1, 0.0)
        # a times the length along tau that the means lack, as a share of what they have.
        scale = ratio / (ratio + tangent) * (1 + tangent)
        magnitudes = np.minimum(scale * means, float(np.finfo(np.float32).max))
        lengths = np.diff(np.append(starts, threshold))
        kept = np.repeat(magnitudes, lengths).astype(np.float32)
        values[unit.bins[:threshold]] = np.maximum(kept, np.finfo(np.float32).smallest_subnormal)
    return values


def _level_starts(unit: Magnitudes, threshold: int, levels: int) -> NDArray[np.int64]:
    """Where levels begin among the kept bins, ascending from 0, int64 [at most ``levels``].

    Spread as the cube root of the density, which is best for many levels.
    """
    if levels == 1 or threshold == 1:
        return np.zeros(1, np.int64)
    counts = unit.counts[:threshold]
    spread = np.cumsum(np.cbrt(counts * (unit.sums / unit.weights)[:threshold] ** 2))
    edges = np.searchsorted(spread, spread[-1] * np.arange(1, levels) / levels)
    return np.unique(np.append(0, np.minimum(edges + 1, threshold - 1)))


def _means(
    unit: Magnitudes, threshold: int, starts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """The mean magnitude of each level, and the squared length of tau along what they make."""
    sums = np.add.reduceat(unit.sums[:threshold], starts)
    weights = np.add.reduceat(unit.weights[:threshold], starts)
    return sums / weights, float((sums**2 / weights).sum())


def _captured(unit: Magnitudes, threshold: int, levels: int) -> float:
    return _means(unit, threshold, _level_starts(unit, threshold, levels))[1]
