"""Which entries of a matrix matter beyond their magnitude: a factor for its row.

Every output of a layer is a row, and is harmed by what its own row loses. With one threshold for
all rows, those that moved far would take all that is kept. An entry's score is its magnitude times
the factor of its row, a power of the root mean square of that row relative to the unit's, and
errors count with the factor's square. Rows that did not move have the factor 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tvbank.compress._difference import Difference
from tvbank.compress._each import Each

#: Entries of one range. Sums are rounded once a range: another length would be other last bits.
RANGE: Final = 2**22
#: Entries that are subtracted at once: what fits into a core's cache.
BLOCK: Final = 2**16


@final
@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a unit; a unit of one dimension is one row.

    Attributes:
        factors: float32 [rows].
        width: entries of a row, at least 1.
        energy: sum of the squares of all entries.
    """

    factors: NDArray[np.float32]
    width: int
    energy: float


def survey_rows(delta: Difference, shape: tuple[int, ...], power: float, each: Each) -> Rows:
    """Sum the squares of a unit's rows.

    Args:
        delta: the entries.
        shape: of the unit; all dimensions but the first make a row.
        power: of the root mean square, for the factors.
        each: spreads ranges over cores.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    rows = shape[0] if len(shape) > 1 and delta.size else 1
    width = max(delta.size // rows, 1)
    squares = np.zeros(rows)
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    for first, sums in each(partial(_sum_range, delta, width), ranges):
        squares[first : first + len(sums)] += sums
    energy = math.fsum(squares)
    relative = np.where(squares > 0, squares * rows, energy) / (energy or 1.0)
    factors = np.maximum(relative, 1e-30) ** (power / 2) if rows > 1 else np.ones(1)
    return Rows(factors.astype(np.float32), width, energy)


def _sum_range(
    delta: Difference, width: int, part: tuple[int, int]
) -> tuple[int, NDArray[np.float64]]:
    """Number of the range's first row, and the sums of its rows as far as they lie in it."""
    first = part[0] // width
    sums = np.zeros((part[1] - 1) // width - first + 1)
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
        _sum_rows(block, start - first * width, width, sums)
    return first, sums


@njit(cache=True, nogil=True)
def _sum_rows(delta: Any, start: int, width: int, sums: Any) -> None:
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        total = 0.0
        for i in range(at, stop):
            total += np.float64(delta[i]) * np.float64(delta[i])
        sums[row] += total
        at = stop
