"""Pictures as SVG inside a page: colours are classes, so that the page's style has them.

Each stands in a ``figure`` with its title, a table of the same numbers, and a line that says what
is under the cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from tvbank.errors import escaped
from tvbank.reporting.figures import Bars, Heat, shown

#: Colours of the scale, classes ``q0`` to ``q8``.
STEPS: Final = 9

_CELL, _HIGH, _TOP, _BAR = 24, 20, 26, 300
_LONGEST, _NARROW = 38, 16
#: Wider cells hold their number.
_WIDE = 64


def text(value: object) -> str:
    """A value as text for any place in a page: no markup, no control characters."""
    return escape(escaped(str(value)))


def figure(picture: Heat | Bars) -> str:
    """A picture with its title, its table and the line that reads it out."""
    drawn = _heat(picture) if isinstance(picture, Heat) else _bars(picture)
    choices = "".join(f' data-{text(name)}="{text(value)}"' for name, value in picture.choices)
    group = f' data-group="{text(picture.group)}"' if picture.group else ""
    return (
        f'<figure id="{text(picture.key)}"{group}{choices}>'
        f"<figcaption><b>{text(picture.title)}</b> {text(picture.note)}</figcaption>"
        f'<div class="scroll">{drawn}</div><output aria-live="polite"></output>'
        f"<details><summary>The numbers</summary>{_numbers(picture)}</details></figure>"
    )


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table whose first column heads its rows."""
    head = "".join(f'<th scope="col">{text(column)}</th>' for column in columns)
    head = f"<thead><tr>{head}</tr></thead>" if any(columns) else ""
    body = []
    for row in rows:
        cells = [f'<th scope="row">{text(row[0])}</th>'] if row else []
        for number, cell in enumerate(row[1:], 1):
            kind = "" if number < texts else ' class="n"'
            cells.append(f"<td{kind}>{text(cell)}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{text(title)}"><table>'
        f"<caption>{text(title)}</caption>{head}"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _numbers(picture: Heat | Bars) -> str:
    if isinstance(picture, Bars):
        rows = [
            [name, shown(value, picture.form)]
            for name, value in zip(picture.rows, picture.values, strict=True)
        ]
        return table(picture.title, [picture.row, "value"], rows)
    rows = [
        [name, *(shown(value, picture.form) for value in values)]
        for name, values in zip(picture.rows, picture.values, strict=True)
    ]
    return table(picture.title, [f"{picture.row} \\ {picture.column}", *picture.columns], rows)


def _name(label: str, x: float, y: float) -> str:
    """The label of a row; of a long one the end, where names differ."""
    short = label if len(label) <= _LONGEST else "…" + label[1 - _LONGEST :]
    return f'<text x="{x - 8:g}" y="{y:g}" class="e">{text(short)}</text>'


def _label_width(labels: Sequence[str]) -> int:
    """The width that the labels of rows take."""
    return 24 + 7 * min(_LONGEST, max(map(len, labels), default=0))


def _open(picture: Heat | Bars, width: float, height: float, more: str = "") -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" role="img" '
        f'tabindex="0" aria-label="{text(picture.title)}. {text(picture.note)} '
        f'Arrow keys read one value after the other."{more}>'
    )


def _heat(heat: Heat) -> str:
    left = _label_width(heat.rows)
    columns = len(heat.columns)
    longest = max((len(label) for label in heat.columns), default=1)
    in_cells = columns <= 10
    cell = max(_WIDE, 7 * min(longest, _NARROW) + 8) if in_cells else _CELL
    grid, high = columns * cell, len(heat.rows) * _HIGH
    width, height = left + grid + 8, _TOP + high + 34
    parts = [
        _open(
            heat, width, height,
            f' data-kind="heat" data-x="{left}" data-y="{_TOP}" data-w="{cell}" data-h="{_HIGH}"',
        )
    ]  # fmt: skip
    every = 1 if in_cells else max(1, -(-7 * longest // _CELL))
    for number, label in enumerate(heat.columns[::every]):
        x = left + (number * every + 0.5) * cell
        short = label if len(label) <= _NARROW else label[: _NARROW - 1] + "…"
        parts.append(f'<text x="{x:g}" y="{_TOP - 8}" class="m">{text(short)}</text>')
    shades: dict[str, list[str]] = {}
    numbers = []
    for row, (label, values) in enumerate(zip(heat.rows, heat.values, strict=True)):
        y = _TOP + row * _HIGH
        parts.append(_name(label, left, y + 14))
        for column, value in enumerate(values):
            if value is None:
                continue
            step = min(STEPS - 1, int(heat.shade(value) * STEPS))
            x = left + column * cell
            shades.setdefault(f"q{step}", []).append(f"M{x} {y}h{cell}v{_HIGH}h-{cell}z")
            if in_cells:
                ink = "a" if step < 5 else "z"
                numbers.append(
                    f'<text x="{x + cell / 2:g}" y="{y + 14}" class="m {ink}">'
                    f"{text(shown(value, heat.form))}</text>"
                )
    parts += [f'<path class="{name}" d="{"".join(paths)}"/>' for name, paths in shades.items()]
    parts += numbers
    parts.append(_legend(heat, left, _TOP + high + 10))
    parts.append('<rect class="cursor" width="0" height="0"/></svg>')
    return "".join(parts)


def _legend(heat: Heat, x: float, y: float) -> str:
    least, most, logarithmic = heat.scale
    swatches = "".join(
        f'<path class="q{step}" d="M{x + 16 * step:g} {y:g}h16v10h-16z"/>' for step in range(STEPS)
    )
    how = ", logarithmic" if logarithmic else ""
    end = x + 16 * STEPS + 6
    return (
        f'<text x="{x - 8:g}" y="{y + 9:g}" class="e">{text(shown(least, heat.form))}</text>'
        f'{swatches}<text x="{end:g}" y="{y + 9:g}">{text(shown(most, heat.form))}{how}</text>'
    )


def _bars(bars: Bars) -> str:
    left = _label_width(bars.rows)
    known = [value for value in bars.values if value is not None]
    most = max(known, default=0.0) or 1.0
    width, height = left + _BAR + 100, len(bars.rows) * _HIGH + 8
    parts = [
        _open(
            bars, width, height,
            f' data-kind="bars" data-x="{left}" data-y="4" data-w="{_BAR + 100}" '
            f'data-h="{_HIGH}"',
        )
    ]  # fmt: skip
    for row, (label, value) in enumerate(zip(bars.rows, bars.values, strict=True)):
        y = 4 + row * _HIGH
        parts.append(_name(label, left, y + 14))
        length = 0.0 if value is None else max(1.0, _BAR * value / most)
        kind = "mark" if label in bars.marks else "bar"
        if value is not None:
            parts.append(
                f'<rect class="{kind}" x="{left}" y="{y + 3}" width="{length:.1f}" '
                f'height="{_HIGH - 6}"/>'
            )
        said = "cannot hold it" if value is None else shown(value, bars.form)
        parts.append(f'<text x="{left + length + 6:.1f}" y="{y + 14}">{text(said)}</text>')
    return "".join([*parts, '<rect class="cursor" width="0" height="0"/></svg>'])
