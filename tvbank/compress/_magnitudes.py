"""How a unit's magnitudes are spread: counts and sums of fine logarithmic bins, in one pass.

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

#: Bits of a pattern below those that choose its bin.
_SHIFT: Final = 17
BINS: Final = 1 << (31 - _SHIFT)
_MAGNITUDE = np.uint32(0x7FFFFFFF)
#: Entries of one range. Sums are rounded once a range: another length would be other last bits.
RANGE: Final = 2**22
#: Entries that are subtracted at once: what fits into a core's cache.
BLOCK: Final = 2**16


@final
@dataclass(frozen=True, eq=False)
class Magnitudes:
    """The bins that hold entries, from the largest magnitudes down; zeros are in none.

    Attributes:
        bins: int64 [b], numbers of the bins, descending.
        counts: int64 [b], entries in each.
        sums: float64 [b], sum of their magnitudes.
        squares: float64 [b], sum of their squared magnitudes.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]

    @cached_property
    def energy(self) -> float:
        """Sum of the squares of all entries."""
        return float(self.squares.sum())


def count_magnitudes(delta: Difference, each: Each) -> Magnitudes:
    """Survey a unit.

    Args:
        delta: its entries.
        each: spreads ranges of it over cores.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for some, partial_sums in each(partial(_count_range, delta), ranges):
        counts += some
        sums += partial_sums
    bins = np.flatnonzero(counts)[::-1]
    return Magnitudes(bins, counts[bins], *sums[bins].T)


def _count_range(
    delta: Difference, part: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
        _count(block.view(np.uint32), block, counts, sums)
    return counts, sums


@njit(cache=True, nogil=True)
def _count(patterns: Any, delta: Any, counts: Any, sums: Any) -> None:
    for i in range(len(delta)):
        magnitude = np.float64(np.abs(delta[i]))
        if magnitude > 0:
            place = np.int64((patterns[i] & _MAGNITUDE) >> np.uint32(_SHIFT))
            counts[place] += 1
            sums[place, 0] += magnitude
            sums[place, 1] += magnitude * magnitude
