"""Chunks for the valid vectors of ``blocks``: matrices with classes of rows and columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.vectors._dice import Dice


@dataclass(frozen=True)
class BlocksCase:
    name: str
    entries: int
    positions: list[int]
    width: int
    why: str
    phase: int = 0
    rows: Sequence[int] = ()
    columns: Sequence[int] = ()


def matrix(
    entries: int, width: int, phase: int, dice: Dice, density: Callable[[int, int], float]
) -> list[int]:
    """Ascending positions; ``density`` takes a row and a column."""
    places = [divmod(phase + entry, width) for entry in range(entries)]
    return [i for i, place in enumerate(places) if dice.random() < density(*place)]


def height(positions: list[int], width: int, phase: int = 0) -> int:
    return -(-(phase + positions[-1] + 1) // width)


def blocks_cases() -> Iterator[BlocksCase]:
    yield BlocksCase("worked", 64, [7, 12, 39], 16, "the example of masks.md")
    yield BlocksCase("one-at-0", 64, [0], 16, "a row that the extent only begins")
    yield BlocksCase("phase", 64, [0, 1, 40], 16, "the first row has one entry", phase=15)
    yield BlocksCase("widest", 64, [5, 63], 65535, "a row longer than the chunk", phase=65000)
    yield BlocksCase("all", 64, list(range(64)), 16, "every cell is a non-zero")
    yield from _densities()
    dice = Dice(9)
    found = matrix(900, 30, 7, dice, lambda row, _: 0.9 if row % 5 == 0 else 0)
    rows = [int(row % 5 == 0) for row in range(height(found, 30, 7))]
    yield BlocksCase("rows", 900, found, 30, "an embedding: most rows are empty", 7, rows)
    columns = [int(column % 3 == 0) for column in range(40)]
    found = matrix(900, 40, 0, dice, lambda _, column: 0.6 if column % 3 == 0 else 0.05)
    yield BlocksCase("columns", 900, found, 40, "classes of columns alone", columns=columns)
    found = matrix(3000, 50, 49, dice, lambda row, column: (row % 4) * (column % 3) / 8)
    rows = [row % 4 for row in range(height(found, 50, 49))]
    columns = [column % 3 for column in range(50)]
    yield BlocksCase("both", 3000, found, 50, "four classes by three", 49, rows, columns)
    found = matrix(3000, 48, 5, dice, lambda row, column: (row % 16) * (column % 16) / 225)
    rows = [row % 16 for row in range(height(found, 48, 5))]
    columns = [column % 16 for column in range(48)]
    yield BlocksCase("most", 3000, found, 48, "sixteen classes by sixteen", 5, rows, columns)
    rows = [1 if row else 3 for row in range(height(found, 48, 5))]
    yield BlocksCase("no-lines", 3000, found, 48, "classes without a row", 5, rows, columns)
    found = matrix(2**18, 384, 256, dice, lambda row, _: 0.7 if row % 11 == 0 else 0.01)
    rows = [int(row % 11 == 0) for row in range(height(found, 384, 256))]
    why = "a chunk of the default length; counts of 18 bits"
    yield BlocksCase("n262144", 2**18, found, 384, why, 256, rows)
    yield BlocksCase("far", 2**24, [2**24 - 1], 16, "s is at most 16: an escape of 63 · 2^16")
    rows = [int(row == 2**24 // 65535) for row in range(2**24 // 65535 + 1)]
    why = "a row of its own for the last entry that exists"
    yield BlocksCase("far-row", 2**24, [2**24 - 1], 65535, why, rows=rows)


def _densities() -> Iterator[BlocksCase]:
    """One block each, from sparse to dense: every step of the rounding is met."""
    dice = Dice(10)
    for number in range(24):
        part = (8 + number % 8) / 16 / 2 ** (number // 3)
        for title, density in (("sparse", part), ("dense", 1 - part)):
            found = matrix(500, 25, 0, dice, lambda _, __, share=density: share) or [499]
            yield BlocksCase(f"{title}-{number}", 500, found, 25, f"density {density:.5f}")
    for spread in (33, 100, 1000, 30000):
        found = [dice.bits(20) % spread + spread * i for i in range(9)]
        why = f"a non-zero in {spread}: plain bits below the symbols"
        yield BlocksCase(f"spread-{spread}", found[-1] + 9, found, 64, why)
