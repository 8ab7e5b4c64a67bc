"""How what is drawn of a unit is spread: counts and sums of fine logarithmic bins, in one pass.

A bin is what the upper 14 bits below the sign of a float32 pattern tell apart: 64 bins an octave.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress._difference import Difference
from tvbank.compress._each import Each
from tvbank.compress._rows import BLOCK, HALVES, RANGE, Rows, raised

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
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for some, partial_sums in each(partial(_count_range, delta, rows, power), ranges):
        counts += some
        sums += partial_sums
    bins = np.flatnonzero(counts)[::-1]
    drawn, plain = sums[bins].T
    return Magnitudes(power, counts[bins], drawn / counts[bins], plain, rows.energy)


def _count_range(
    delta: Difference, rows: Rows, power: int, part: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    counts, sums = np.zeros(BINS, np.int64), np.zeros((BINS, 2))
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
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
