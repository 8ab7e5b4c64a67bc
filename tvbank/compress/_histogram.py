"""Counting magnitudes by the bits of their patterns, a few bits a pass: a radix selection.

Magnitudes of finite floats are ordered like their patterns of 31 bits. The first pass counts all
entries by the upper 11 bits; the next ones count those that begin with the bits chosen before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress._difference import Difference

#: Of each pass: how far the counted bits are shifted, and how many they are.
LEVELS = ((20, 11), (10, 10), (0, 10))
#: Magnitudes that the last pass tells apart.
FINEST = 2 ** LEVELS[-1][1]

#: Entries that are subtracted at once: what fits into a core's cache.
_BLOCK = 2**16
#: Sums are kept apart by position modulo this, so that a core can add many at once, and whatever
#: the core, in the same order.
_LANES = 64
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_SIGN = np.uint32(0x80000000)


@final
@dataclass(frozen=True)
class Counted:
    """One range of a unit, counted.

    Attributes:
        counts: int64 [2, 2 ** bits], by sign and value of the counted bits.
        above_squares: sum of the squares of entries with larger magnitudes than those counted.
        all_squares: sum of the squares of all entries.
    """

    counts: NDArray[np.int64]
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
    above, every = np.zeros(_LANES), np.zeros(_LANES)
    for first in range(part[0], part[1], _BLOCK):
        block = delta.block(first, min(first + _BLOCK, part[1]))
        if level == LEVELS[0]:
            _count_all(block, counts.reshape(-1))
            continue
        whole = np.uint32(31 - shift - bits)
        starts = [np.uint32(p if p >= 0 else 2**32 - 1) for p in prefixes]
        _count(block, starts[0], starts[1] | np.uint32(1) << whole, shift, bits, counts)
        if shift == 0:
            _sum(block, _least_beyond(prefixes[0], bits), -_least_beyond(prefixes[1], bits),
                 above, every)  # fmt: skip
    return Counted(counts, float(above.sum()), float(every.sum()))


def locate(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The place of the entry of a rank, from 0, and its rank there; behind all if there is none."""
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place - 1] if place else 0)


def _least_beyond(prefix: int, bits: int) -> np.float32:
    """The least magnitude above all that begin with a prefix; infinity if there is no prefix."""
    if prefix < 0:
        return np.float32(np.inf)
    return np.uint32((prefix + 1) << bits).view(np.float32)


@kernel
def _count_all(delta: Any, counts: Any) -> None:
    """Count by sign and upper 11 bits: uint32 patterns to int64 [2 * 2048]."""
    patterns = delta.view(np.uint32)
    zeros = negative_zeros = 0
    for i in range(len(patterns)):
        counts[patterns[i] >> np.uint32(20)] += 1
    for i in range(len(patterns)):
        zeros += 1 if patterns[i] == np.uint32(0) else 0
        negative_zeros += 1 if patterns[i] == _SIGN else 0
    counts[0] -= zeros
    counts[2048] -= negative_zeros


@kernel
def _count(delta: Any, positive: Any, negative: Any, shift: int, bits: int, counts: Any) -> None:
    """Count entries whose bits above the counted ones, sign included, are one of two values."""
    patterns = delta.view(np.uint32)
    lower, whole = np.uint32(shift), np.uint32(shift + bits)
    mask = np.uint32((1 << bits) - 1)
    # Few entries are counted: whether any of eight is takes one look at their flags.
    flags = np.zeros((len(patterns) + 7) // 8 * 8, np.uint8)
    for i in range(len(patterns)):
        start = patterns[i] >> whole
        flags[i] = np.uint8(start == positive) | np.uint8(start == negative)
    eights = flags.view(np.uint64)
    for number in range(len(eights)):
        i, eight = 8 * number, eights[number]
        while eight:
            if eight & np.uint64(1) and patterns[i] & _MAGNITUDE:
                counts[patterns[i] >> np.uint32(31), (patterns[i] >> lower) & mask] += 1
            i, eight = i + 1, eight >> np.uint64(8)


@kernel
def _sum(delta: Any, positive: Any, negative: Any, above: Any, every: Any) -> None:
    """Add to ``every`` the squares of all entries, to ``above`` of those outside the limits."""
    for start in range(0, len(delta), _LANES):
        part = delta[start : start + _LANES]
        for lane in range(len(part)):
            square = np.float64(part[lane]) * np.float64(part[lane])
            every[lane] += square
            above[lane] += square if (part[lane] >= positive) | (part[lane] <= negative) else 0.0
