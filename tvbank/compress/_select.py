"""Selecting the largest entries of each sign in three passes over memory, exactly.

Magnitudes of finite floats are ordered like their bit patterns. A histogram over the upper 16 of
the 31 magnitude bits finds the bin that holds the quantile; only that bin's entries are sorted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

_BIN_SHIFT = 15
_BINS = 2**16


@dataclass(frozen=True)
class Selection:
    """What a drop share keeps of a unit.

    Attributes:
        least: the smallest kept magnitude of the positive and of the negative entries; infinity
            if nothing of that sign is kept.
        surplus: for each sign, how many entries of exactly that magnitude are dropped.
        kept: number of kept entries.
        kept_squares: sum of their squares.
        all_squares: sum of the squares of all entries.
    """

    least: tuple[np.float32, np.float32]
    surplus: tuple[int, int]
    kept: int
    kept_squares: float
    all_squares: float


def select(delta: NDArray[np.float32], drop: Fraction) -> Selection:
    """Find the thresholds that drop ``floor(drop * n)`` entries of each sign.

    Args:
        delta: finite entries, [size]; zeros have no sign and are never kept.
        drop: share to drop of each sign, 0 <= drop < 1.
    """
    counts = np.zeros((2, _BINS), np.int64)
    _count(delta, counts)
    bins, ranks = np.full(2, _BINS, np.int64), np.zeros(2, np.int64)
    for sign in (0, 1):
        if total := int(counts[sign].sum()):
            quota = math.floor(drop * total)
            ends = np.cumsum(counts[sign])
            bins[sign] = np.searchsorted(ends, quota, side="right")
            ranks[sign] = quota - (ends[bins[sign]] - counts[sign, bins[sign]])
    sizes = [int(counts[sign, bins[sign]]) if bins[sign] < _BINS else 0 for sign in (0, 1)]
    candidates = np.empty((2, max(1, *sizes)), np.float32)
    kept, kept_squares, all_squares = _gather(delta, bins, candidates)
    least, surplus = [np.float32(np.inf)] * 2, [0, 0]
    for sign in (0, 1):
        if sizes[sign]:
            ordered = np.sort(candidates[sign, : sizes[sign]])
            chosen = ordered[ranks[sign] :]
            least[sign] = chosen[0]
            surplus[sign] = int(ranks[sign] - np.searchsorted(ordered, chosen[0]))
            kept += len(chosen)
            kept_squares += float(np.square(chosen, dtype=np.float64).sum())
    return Selection(
        (least[0], least[1]), (surplus[0], surplus[1]), kept, kept_squares, all_squares
    )


def polarise(delta: NDArray[np.float32], selection: Selection, magnitude: np.float32) -> None:
    """Replace kept entries by ``±magnitude`` and all others by zero, in place."""
    _polarise(
        delta, selection.least[0], selection.least[1], selection.surplus[0],
        selection.surplus[1], magnitude,
    )  # fmt: skip


@njit(cache=True, nogil=True)
def _count(delta: Any, counts: Any) -> None:
    bits = delta.view(np.uint32)
    for i in range(len(bits)):
        word = bits[i]
        if word & np.uint32(0x7FFFFFFF):
            counts[word >> np.uint32(31), (word & np.uint32(0x7FFFFFFF)) >> _BIN_SHIFT] += 1


@njit(cache=True, nogil=True)
def _gather(delta: Any, bins: Any, candidates: Any) -> Any:
    bits = delta.view(np.uint32)
    taken = np.zeros(2, np.int64)
    kept, kept_squares, all_squares = 0, 0.0, 0.0
    for i in range(len(bits)):
        word = bits[i]
        square = np.float64(delta[i]) * np.float64(delta[i])
        all_squares += square
        magnitude = word & np.uint32(0x7FFFFFFF)
        sign = np.int64(word >> np.uint32(31))
        number = np.int64(magnitude >> np.uint32(_BIN_SHIFT))
        if number > bins[sign]:
            kept += 1
            kept_squares += square
        elif number == bins[sign] and magnitude:
            candidates[sign, taken[sign]] = abs(delta[i])
            taken[sign] += 1
    return kept, kept_squares, all_squares


@njit(cache=True, nogil=True)
def _polarise(
    delta: Any, positive: Any, negative: Any, positives: int, negatives: int, magnitude: Any
) -> None:
    i = len(delta)
    while positives + negatives > 0:
        i -= 1
        if positives > 0 and delta[i] == positive:
            delta[i], positives = np.float32(0), positives - 1
        elif negatives > 0 and delta[i] == -negative:
            delta[i], negatives = np.float32(0), negatives - 1
    for i in range(len(delta)):
        value = delta[i]
        sign = np.float32(value >= positive) - np.float32(value <= -negative)
        delta[i] = sign * magnitude
