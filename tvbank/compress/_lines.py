"""Which entries of a matrix matter beyond their magnitude: a factor for its row and its column.

An entry of magnitude m in row i and column j has the score m·f_i·g_j, and errors there count with
the square of f_i·g_j. Factors are powers of the root mean square of the row's or the column's
entries, relative to the unit's; lines that did not move have the factor 1.
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
class Lines:
    """Factors of a unit's lines; a unit of one dimension has one row and one column factor of 1.

    Attributes:
        rows: float32 [r].
        columns: float32 [c]; r·c entries.
        energy: sum of the squares of all entries.
    """

    rows: NDArray[np.float32]
    columns: NDArray[np.float32]
    energy: float


def survey_lines(
    delta: Difference, shape: tuple[int, ...], powers: tuple[float, float], each: Each
) -> Lines:
    """Sum the squares of a unit's rows, columns and all entries.

    Args:
        delta: the entries.
        shape: of the unit; all dimensions but the first make a row.
        powers: of the root mean square of rows and of columns.
        each: spreads ranges over cores.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    rows = shape[0] if len(shape) > 1 and delta.size else 1
    width = delta.size // rows
    row_squares = np.zeros(rows)
    column_squares = np.zeros(width if rows > 1 else 1)
    ranges = [(at, min(at + RANGE, delta.size)) for at in range(0, delta.size, RANGE)]
    for first, of_rows, of_columns in each(partial(_sum_range, delta, width, rows > 1), ranges):
        row_squares[first : first + len(of_rows)] += of_rows
        column_squares += of_columns
    energy = math.fsum(row_squares)
    if rows == 1:
        return Lines(np.ones(1, np.float32), np.ones(1, np.float32), energy)
    mean = energy / delta.size
    return Lines(
        _factors(row_squares / width, mean, powers[0]),
        _factors(column_squares / rows, mean, powers[1]),
        energy,
    )


def _factors(squares: NDArray[np.float64], mean: float, power: float) -> NDArray[np.float32]:
    moved = squares > 0
    relative = np.where(moved, squares, mean) / (mean or 1.0)
    return (np.maximum(relative, 1e-30) ** (power / 2)).astype(np.float32)


def _sum_range(
    delta: Difference, width: int, matrix: bool, part: tuple[int, int]
) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    first = part[0] // width
    rows = np.zeros((part[1] - 1) // width - first + 1)
    columns = np.zeros(width if matrix else 1)
    for start in range(*part, BLOCK):
        block = delta.block(start, min(start + BLOCK, part[1]))
        _sum_lines(block, start - first * width, width, rows, columns)
    return first, rows, columns


@njit(cache=True, nogil=True)
def _sum_lines(delta: Any, start: int, width: int, rows: Any, columns: Any) -> None:
    """Add squares to the sums of rows, and of columns if there are several."""
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        stop = min(len(delta), at + width - column)
        total = 0.0
        if len(columns) > 1:
            for i in range(at, stop):
                square = np.float64(delta[i]) * np.float64(delta[i])
                total += square
                columns[column + i - at] += square
        else:
            for i in range(at, stop):
                total += np.float64(delta[i]) * np.float64(delta[i])
        rows[row] += total
        at = stop
