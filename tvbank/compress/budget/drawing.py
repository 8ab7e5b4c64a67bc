"""Rounding entries by chance, up or down, so that they are right on average.

An entry of ``x`` steps becomes a whole number of steps, floor(x) or one more, the latter as often
as x is beyond floor(x); above the highest level it becomes that. So every sum over entries keeps
its expected value: what is lost is replaced by noise that has no direction, where a threshold would
always lose the same, all small entries.

Where little is kept, noise is the greater harm, and a power of the entry is drawn: to keep large
entries more often than in proportion makes less noise and errs more. An entry of magnitude m counts
as ``f m^p``, where f is that of its row for which the row keeps its length along itself:
f = sum m² / sum m^(1 + p). With p = 1, f is 1. Every output of a layer is a row, and a row that
moved little is not lost beside those that moved far.

Entries are drawn systematically: along a row, steps are added up from a start between 0 and 1, and
an entry gets as many as the sum passes whole numbers. So no stretch of a row is more than one step
off. The start of each stretch is made from its position and the unit's name: the same entries are
drawn the same way whenever and wherever they are drawn.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress.chance import uniform
from tvbank.compress.lossy import Difference
from tvbank.compress.protocol import Each

#: Powers that can be drawn, in halves: 1, 1.5, 2.
HALVES: Final = (2, 3, 4)
#: Entries of a stretch, unless its row ends before; they are drawn together.
STRETCH: Final = 1024


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
    for first, partial_sums in each(partial(_sum_range, delta, width), delta.ranges()):
        sums[:, first : first + partial_sums.shape[1]] += partial_sums
    factors = np.divide(sums[0], sums, out=np.zeros_like(sums), where=sums > 0)
    return Rows(width, factors, math.fsum(sums[0]))


def _sum_range(
    delta: Difference, width: int, part: tuple[int, int]
) -> tuple[int, NDArray[np.float64]]:
    """Number of the range's first row, and the sums of its rows as far as they lie in it."""
    first = part[0] // width
    sums = np.zeros((len(HALVES), (part[1] - 1) // width - first + 1))
    for start, block in delta.blocks(part):
        _sum(block, start - first * width, width, sums)
    return first, sums


@final
@dataclass(frozen=True)
class Draw:
    """How the entries of a unit are drawn.

    Attributes:
        power: what is rounded, an index into ``HALVES``.
        step: between levels, above 0: it is rounded to whole numbers of that.
        levels: the highest level, in steps; at least 1.
        size: float32, above 0: what a step becomes.
        turn: another number draws other entries.
    """

    power: int
    step: float
    levels: int
    size: float
    turn: int = 0


def draw(delta: Difference, rows: Rows, how: Draw, start: int, stop: int) -> NDArray[np.float32]:
    """Entries of a unit from ``start`` to ``stop``, drawn; none changes its sign.

    Args:
        delta: all entries of the unit.
        rows: of the unit.
        how: to draw.
        start: of the entries that are wanted.
        stop: after the last of them.
    """
    first = start - start % rows.width % STRETCH
    block = delta.block(first, stop)
    greatest = float(np.finfo(np.float32).max)
    values = np.minimum(np.arange(how.levels + 1) * how.size, greatest).astype(np.float32)
    key = np.uint64(zlib.crc32(delta.unit.encode(), how.turn) << 32)
    factors = rows.factors[how.power] / how.step
    _draw(block, first, rows.width, STRETCH, key, HALVES[how.power], factors, values)
    return block[start - first :]


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


@kernel
def _advance(total: float, value: Any, halves: int, factor: float, highest: float) -> Any:
    """The sum after an entry, less the whole numbers that it passed; and how many those are."""
    total += min(raised(np.float64(np.abs(value)), halves) * factor, highest)
    passed = np.int64(total)
    return total - passed, passed


@kernel
def _signed(value: Any, values: Any, passed: Any) -> Any:
    return values[passed] if value > np.float32(0) else np.float32(0) - values[passed]


@kernel
def _draw(
    delta: Any,
    start: int,
    width: int,
    stretch: int,
    key: Any,
    halves: int,
    factors: Any,
    values: Any,
) -> None:
    # A sum waits for the one before it: four stretches at a time take little longer than one.
    highest = float(len(values) - 1)
    starts, stops = np.empty(4, np.int64), np.empty(4, np.int64)
    own, sums = np.empty(4, np.float64), np.empty(4, np.float64)
    at = 0
    while at < len(delta):
        lanes, shared = 0, stretch
        while lanes < 4 and at < len(delta):
            row, column = divmod(start + at, width)
            stop = min(len(delta), at + stretch - column % stretch, at + width - column)
            starts[lanes], stops[lanes], own[lanes] = at, stop, factors[row]
            sums[lanes] = uniform(key + np.uint64(start + at))
            shared = min(shared, stop - at)
            lanes, at = lanes + 1, stop
        if lanes < 4:
            shared = 0
        a, b, c, d = starts[0], starts[1], starts[2], starts[3]
        s, t, u, v = sums[0], sums[1], sums[2], sums[3]
        f, g, h, k = own[0], own[1], own[2], own[3]
        for i in range(shared):
            s, passed = _advance(s, delta[a + i], halves, f, highest)
            delta[a + i] = _signed(delta[a + i], values, passed)
            t, passed = _advance(t, delta[b + i], halves, g, highest)
            delta[b + i] = _signed(delta[b + i], values, passed)
            u, passed = _advance(u, delta[c + i], halves, h, highest)
            delta[c + i] = _signed(delta[c + i], values, passed)
            v, passed = _advance(v, delta[d + i], halves, k, highest)
            delta[d + i] = _signed(delta[d + i], values, passed)
        sums[0], sums[1], sums[2], sums[3] = s, t, u, v
        for lane in range(lanes):
            total = sums[lane]
            for i in range(starts[lane] + shared, stops[lane]):
                total, passed = _advance(total, delta[i], halves, own[lane], highest)
                delta[i] = _signed(delta[i], values, passed)
