"""How a unit's scores are spread: counts and sums of fine logarithmic bins, in one pass.

A bin is what the upper 14 bits below the sign of a float32 pattern tell apart: 64 bins an octave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tvbank.compress._difference import Difference
from tvbank.compress._each import Each
from tvbank.compress._rows import BLOCK, RANGE, Rows

#: Bits of a pattern below those that choose its bin.
_SHIFT: Final = 17
BINS: Final = 1 << (31 - _SHIFT)
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@final
@dataclass(frozen=True, eq=False)
class Magnitudes:
    """The bins that hold entries, from the highest scores down; zeros are in none.

    Attributes:
        bins: int64 [b], numbers of the bins, descending.
        counts: int64 [b], entries in each.
        weights: float64 [b], sum of the weights of their errors.
        sums: float64 [b], sum of weight times magnitude.
        squares: float64 [b], sum of weight times squared magnitude.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    weights: NDArray[np.float64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @cached_property
    def energy(self) -> float:
        """Sum of weight times squared magnitude of all entries."""
        return float(self.squares.sum())

    @cached_property
    def kept(self) -> NDArray[np.int64]:
        """Entries in a bin and those above it, int64 [b]."""
        return np.cumsum(self.counts)


def count_magnitudes(delta: Difference, rows: Rows, *, by_score: bool, each: Each) -> Magnitudes:
    """Survey a unit.

    Args:
        delta: its entries.
        rows: their factors, whose squares are the weights of errors.
        by_score: whether bins are of scores, or of plain magnitudes.
        each: spreads ranges of it over cores.
    """
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 3))
    for some, partial_sums in each(partial(_count_range, delta, rows, by_score), ranges):
        counts += some
        sums += partial_sums
    bins = np.flatnonzero(counts)[::-1]
    return Magnitudes(bins, counts[bins], *sums[bins].T)


def replace_by_bin(
    block: NDArray[np.float32],
    start: int,
    values: NDArray[np.float32],
    rows: Rows,
    *,
    by_score: bool,
) -> None:
    """Give entries the magnitude that belongs to their bin, and their own sign, in place.

    Args:
        block: consecutive entries.
        start: position of the first of them in the unit.
        values: float32 [BINS]; 0 drops an entry.
        rows: of the unit.
        by_score: whether bins are of scores, or of plain magnitudes.
    """
    _replace(block, start, values, rows.factors, rows.width, by_score)


def _count_range(
    delta: Difference, rows: Rows, by_score: bool, part: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 3))
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
        _count(block, start, rows.factors, rows.width, by_score, counts, sums)
    return counts, sums


@njit(cache=True, nogil=True)
def _count(
    delta: Any, start: int, factors: Any, width: int, by_score: bool, counts: Any, sums: Any
) -> None:
    score = np.empty(1, np.float32)
    pattern = score.view(np.uint32)
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        factor = factors[row]
        weight = np.float64(factor) * np.float64(factor)
        for i in range(at, stop):
            magnitude = np.abs(delta[i])
            if magnitude > np.float32(0):
                score[0] = magnitude * factor if by_score else magnitude
                place = np.int64(pattern[0] >> np.uint32(_SHIFT))
                product = weight * np.float64(magnitude)
                counts[place] += 1
                sums[place, 0] += weight
                sums[place, 1] += product
                sums[place, 2] += product * np.float64(magnitude)
        at = stop


@njit(cache=True, nogil=True)
def _replace(delta: Any, start: int, values: Any, factors: Any, width: int, by_score: bool) -> None:
    score = np.empty(1, np.float32)
    pattern = score.view(np.uint32)
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        factor = factors[row]
        for i in range(at, stop):
            value = delta[i]
            magnitude = np.abs(value)
            score[0] = magnitude * factor if by_score else magnitude
            kept = values[np.int64(pattern[0] >> np.uint32(_SHIFT))]
            if kept == np.float32(0) or magnitude == np.float32(0):
                delta[i] = np.float32(0)  # and not the negative one, which would be an entry
            else:
                delta[i] = kept if value > np.float32(0) else -kept
        at = stop
