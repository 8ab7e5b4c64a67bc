"""Rounding entries by chance, up or down, so that they are right on average.

An entry of ``x`` steps becomes a whole number of steps, floor(x) or one more, the latter as often
as x is beyond floor(x); above the highest level it becomes that. So every sum over entries keeps
its expected value: what is lost is replaced by noise that has no direction, where a threshold would
lose always the same, all small entries. Where little is kept, noise is the greater harm, and it is
a power of the entry that is drawn (``_rows.py``).

Entries are drawn systematically: along a row, steps are added up from a start between 0 and 1, and
an entry gets as many as the sum passes whole numbers. So no stretch of a row is more than one step
off. The start of each stretch comes from its position and the unit's name: the same becomes of the
same entries whenever and wherever they are drawn.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress._difference import Difference
from tvbank.compress._rows import HALVES, Rows, raised

#: Entries of a stretch, unless its row ends before; they are drawn together.
STRETCH: Final = 1024


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
        stop: behind the last of them.
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
    highest = float(len(values) - 1)
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        factor = factors[row]
        stop = min(len(delta), at + stretch - column % stretch, at + width - column)
        total = _uniform(key + np.uint64(start + at))
        for i in range(at, stop):
            value = delta[i]
            total += min(raised(np.float64(np.abs(value)), halves) * factor, highest)
            passed = np.int64(total)
            total -= passed
            delta[i] = values[passed] if value > np.float32(0) else np.float32(0) - values[passed]
        at = stop


@kernel
def _uniform(number: Any) -> float:
    """A number from 0 to below 1 for a uint64: the mixing of splitmix64."""
    mixed = number + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return np.float64(mixed >> np.uint64(11)) / 9007199254740992.0
