"""What is drawn of an entry: its magnitude, or a power of it, right for its row as a whole.

To keep large entries more often than in proportion makes less noise and errs more. An entry of
magnitude m counts as ``f m^p``, where f is that of its row for which the row keeps its length
along itself: f = sum m² / sum m^(1 + p). With p = 1, f is 1. Every output of a layer is a row, and
a row that moved little is not lost beside those that moved far.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress._difference import Difference
from tvbank.compress._each import Each

#: Powers that can be drawn, in halves: 1, 1.5, 2.
HALVES: Final = (2, 3, 4)
#: Entries of one range. Sums are rounded once a range: another length would be other last bits.
RANGE: Final = 2**22
#: Entries that are subtracted at once: what fits into a core's cache.
BLOCK: Final = 2**16


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a unit; a unit of one dimension is one row.

    Attributes:
        width: entries of a row, at least 1.
        factors: float64 [powers, rows], f of each; 0 for rows that did not move.
        energy: sum of the squares of all entries.
    """

    width: int
    factors: NDArray[np.float64]
    energy: float


def row_width(shape: tuple[int, ...]) -> int:
    """Entries of a row, at least 1: all but the first dimension that is not 1; a vector is one."""
    long = [length for length in shape if length != 1]
    return max(math.prod(long[1:] if len(long) > 1 else long), 1)


def survey_rows(delta: Difference, width: int, each: Each) -> Rows:
    """Sum the squares and other powers of a unit's rows.

    Args:
        delta: the entries.
        width: entries of a row.
        each: spreads ranges over cores.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    sums = np.zeros((len(HALVES), -(-delta.size // width)))
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    for first, found in each(partial(_sum_range, delta, width), ranges):
        sums[:, first : first + found.shape[1]] += found
    factors = np.divide(sums[0], sums, out=np.zeros_like(sums), where=sums > 0)
    return Rows(width, factors, math.fsum(sums[0]))


def _sum_range(
    delta: Difference, width: int, part: tuple[int, int]
) -> tuple[int, NDArray[np.float64]]:
    """Number of the range's first row, and the sums of its rows as far as they lie in it."""
    first = part[0] // width
    sums = np.zeros((len(HALVES), (part[1] - 1) // width - first + 1))
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
        _sum(block, start - first * width, width, sums)
    return first, sums


@kernel
def _sum(delta: Any, start: int, width: int, sums: Any) -> None:
    for i in range(len(delta)):
        row = (start + i) // width
        magnitude = np.float64(np.abs(delta[i]))
        square = magnitude * magnitude
        sums[0, row] += square
        sums[1, row] += square * math.sqrt(magnitude)
        sums[2, row] += square * magnitude


@kernel
def raised(magnitude: float, halves: int) -> float:
    """A magnitude to the power of ``halves`` / 2, which is one of ``HALVES``."""
    if halves == 2:
        return magnitude
    return magnitude * magnitude if halves == 4 else magnitude * math.sqrt(magnitude)
