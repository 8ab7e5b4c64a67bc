"""Counting magnitudes by the bits of their patterns, a few bits a pass: a radix selection.

Magnitudes of finite floats are ordered like their patterns of 31 bits. The first pass counts all
entries by the upper 11 bits; the next ones count those that begin with the bits chosen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tvbank.compress._difference import Difference

#: Of each pass: how far the counted bits are shifted, and how many they are.
LEVELS = ((20, 11), (10, 10), (0, 10))
#: Magnitudes that the last pass tells apart.
FINEST = 2 ** LEVELS[-1][1]

#: Entries that are subtracted at once: what fits into a core's cache.
_BLOCK = 2**16
#: Sums are kept apart by position modulo this, so that a core can add as many at once.
_LANES = 8
_MAGNITUDE = np.uint32(0x7FFFFFFF)


@final
@dataclass(frozen=True)
class Counted:
    """One range of a unit, counted.

    Attributes:
        counts: int64 [2, 2 ** bits], by sign and value of the counted bits.
        above: number of entries with larger magnitudes than those counted, of both signs.
        above_squares: sum of their squares.
        all_squares: sum of the squares of all entries.
    """

    counts: NDArray[np.int64]
    above: int = 0
    above_squares: float = 0.0
    all_squares: float = 0.0


def count(
    delta: Difference, prefixes: tuple[int, int], level: tuple[int, int], part: tuple[int, int]
) -> Counted:
    """Count one range by the bits of one level; the last level also sums squares.

    Args:
        delta: the entries; zeros are not counted.
        prefixes: what the bits above those of the level must be in positive and in negative
            entries; -1 where nothing is to be counted.
        level: one of ``LEVELS``.
        part: the range, first entry and the one behind the last.
    """
    shift, bits = level
    counts = np.zeros((2, 2**bits), np.int64)
    sums = np.zeros((2, _LANES), np.float64)
    above = 0
    for first in range(part[0], part[1], _BLOCK):
        block = delta.block(first, min(first + _BLOCK, part[1]))
        _count(block, *prefixes, shift, bits, counts)
        if shift == 0:
            limits = _beyond(prefixes[0], bits), _beyond(prefixes[1], bits)
            above += _sum(block, *limits, sums)
    return Counted(counts, above, float(sums[0].sum()), float(sums[1].sum()))


def locate(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The place of the entry of a rank, from 0, and its rank there; behind all if there is none."""
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place - 1] if place else 0)


def _beyond(prefix: int, bits: int) -> int:
    """The least pattern above all that begin with a prefix."""
    return 2**31 if prefix < 0 else (prefix + 1) << bits


@njit(cache=True, nogil=True)
def _count(delta: Any, positive: int, negative: int, shift: int, bits: int, counts: Any) -> None:
    patterns = delta.view(np.uint32)
    lower, whole = np.uint32(shift), np.uint32(shift + bits)
    mask = np.uint32((1 << bits) - 1)
    for i in range(len(patterns)):
        magnitude = patterns[i] & _MAGNITUDE
        sign = np.int64(patterns[i] >> np.uint32(31))
        if magnitude and np.int64(magnitude >> whole) == (negative if sign else positive):
            counts[sign, (magnitude >> lower) & mask] += 1


@njit(cache=True, nogil=True)
def _sum(delta: Any, positive: int, negative: int, sums: Any) -> Any:
    """Add to the first of ``sums`` the squares from the limits on, to the second one all."""
    patterns = delta.view(np.uint32)
    limits = np.uint32(positive), np.uint32(negative)
    above = 0
    whole = len(patterns) - len(patterns) % _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            pattern = patterns[start + lane]
            square = np.float64(delta[start + lane]) * np.float64(delta[start + lane])
            limit = limits[1] if pattern > _MAGNITUDE else limits[0]
            kept = (pattern & _MAGNITUDE) >= limit
            sums[0, lane] += square if kept else 0.0
            sums[1, lane] += square
            above += 1 if kept else 0
    for i in range(whole, len(patterns)):
        square = np.float64(delta[i]) * np.float64(delta[i])
        limit = limits[1] if patterns[i] > _MAGNITUDE else limits[0]
        kept = (patterns[i] & _MAGNITUDE) >= limit
        sums[0, i - whole] += square if kept else 0.0
        sums[1, i - whole] += square
        above += 1 if kept else 0
    return above
