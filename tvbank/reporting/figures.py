"""What a report shows, before it is drawn: heat maps, bars and tables, all in plain text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, final

#: How numbers are written: ``percent`` of shares, ``bytes`` of sizes, ``count`` of whole numbers.
Form = Literal["percent", "number", "bytes", "count"]

Row = Sequence[float | None]

#: Values are coloured by their logarithms where the largest is so many times the smallest.
_WIDE = 30


@final
@dataclass(frozen=True)
class Heat:
    """Numbers of two sides, each a coloured cell.

    Attributes:
        key: names the picture's file.
        title: of the picture.
        note: what the numbers are, in a sentence.
        row: what a row is.
        column: what a column is.
        rows: their labels.
        columns: likewise.
        values: a row of numbers for each of ``rows``; None where there is none.
        form: how they are written.
        group: pictures of one group take one place; ``choices`` say which is shown.
        choices: what is chosen, and the choice: ``(("task", "cats"), ("shown", "density"))``.
        bounds: the least and the greatest value of the colours; by default those there are.
    """

    key: str
    title: str
    note: str
    row: str
    column: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Row]
    form: Form = "number"
    group: str = ""
    choices: Sequence[tuple[str, str]] = ()
    bounds: tuple[float, float] | None = None

    @property
    def scale(self) -> tuple[float, float, bool]:
        """The least and the greatest value, and whether colours go by logarithms."""
        known = [value for row in self.values for value in row if value is not None]
        if self.bounds is not None:
            return (*self.bounds, False)
        if not known:
            return 0.0, 0.0, False
        positive = [value for value in known if value > 0]
        if positive and min(known) >= 0 and max(positive) > _WIDE * min(positive):
            return min(positive), max(positive), True
        return min(known), max(known), False

    def shade(self, value: float) -> float:
        """Where a value lies on the scale, 0 to 1."""
        least, most, logarithmic = self.scale
        if logarithmic:
            value, least, most = (math.log(max(each, least)) for each in (value, least, most))
        return min(1.0, max(0.0, (value - least) / (most - least))) if most > least else 0.0


@final
@dataclass(frozen=True)
class Bars:
    """Numbers of one side, each a bar.

    Attributes:
        key: names the picture's file.
        title: of the picture.
        note: what the numbers are.
        row: what a bar is.
        rows: labels of the bars.
        values: their lengths; None where there is none.
        form: how they are written.
        marks: rows that stand out: what was chosen.
        group: as of ``Heat``.
        choices: likewise.
    """

    key: str
    title: str
    note: str
    row: str
    rows: Sequence[str]
    values: Row
    form: Form = "number"
    marks: frozenset[str] = frozenset()
    group: str = ""
    choices: Sequence[tuple[str, str]] = ()


@final
@dataclass(frozen=True)
class Table:
    """Text in columns, of which the first ``text`` are no numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1


@final
@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, pictures, tables."""

    title: str
    lines: Sequence[str] = ()
    figures: Sequence[Heat | Bars] = ()
    tables: Sequence[Table] = field(default=())


def shown(value: float | None, form: Form) -> str:
    """A number as people read it; a dash for none."""
    if value is None:
        return "-"
    if form == "bytes":
        for unit in ("B", "KiB", "MiB", "GiB"):
            if abs(value) < 1024:
                return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
            value /= 1024
        return f"{value:.3g} TiB"
    if form == "count":
        return f"{value:,.0f}"
    return f"{_short(100 * value)} %" if form == "percent" else _short(value)


def shape_of(shape: Sequence[int]) -> str:
    """A shape as people read it."""
    return "x".join(map(str, shape)) or "scalar"


def _short(value: float) -> str:
    """Three digits, without an exponent where that is no longer."""
    if value == 0 or 1e-4 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:.2e}"
