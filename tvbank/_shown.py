"""What a person sees in a terminal and in a notebook: sizes, and small tables of HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from tvbank.errors import escaped

#: Rows of a table in a notebook; the rest is counted.
ROWS = 50


def human_bytes(size: float) -> str:
    """A size in bytes with a binary unit: ``1.5 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"


def html_table(
    title: str,
    facts: Mapping[str, object],
    columns: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
) -> str:
    """What a notebook shows of an object; no text of it is taken for HTML.

    Args:
        title: what it is.
        facts: what is known of it, by name; what is empty is left out.
        columns: heads of the table.
        rows: its cells; the first ``ROWS`` are shown.
    """
    known = [f"{_text(name)}: {_text(value)}" for name, value in facts.items() if value != ""]
    parts = [f"<div><strong>{_text(title)}</strong><br>{' &middot; '.join(known)}"]
    if columns:
        every = list(rows)
        parts.append(f"<table><thead><tr>{_cells('th', columns)}</tr></thead><tbody>")
        parts += [f"<tr>{_cells('td', row)}</tr>" for row in every[:ROWS]]
        parts.append("</tbody></table>")
        if len(every) > ROWS:
            parts.append(f"and {len(every) - ROWS:,} more")
    return "".join([*parts, "</div>"])


def _cells(kind: str, row: Sequence[object]) -> str:
    return "".join(f'<{kind} style="text-align:left">{_text(cell)}</{kind}>' for cell in row)


def _text(value: object) -> str:
    return escape(escaped(str(value)))
