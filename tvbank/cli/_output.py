"""What a person sees (tables, sizes) and what a program reads (JSON)."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import typer

from tvbank._shown import human_bytes as human_bytes
from tvbank.errors import escaped

#: Columns of a table that is not printed on a terminal.
_WIDE = 240

#: Between the columns of a table.
_GAP = "  "


def say(text: str, *, err: bool = False) -> None:
    """Print one line for a person; controls that a stranger's file brought are shown, not obeyed.

    Args:
        text: without a line break.
        err: whether it goes to the standard error.
    """
    typer.echo(escaped(text), err=err)


class _Said(logging.Handler):
    """Shows what is logged as errors are shown: a line each on the standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Show one record."""
        say(f"tvbank: {self.format(record)}", err=True)


def show_log(level: int) -> None:
    """Show what tvbank logs from a level on; its logger is quiet without this."""
    logger = logging.getLogger("tvbank")
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Said)]:
        logger.removeHandler(handler)
    logger.addHandler(_Said())
    logger.setLevel(level)


def counted(number: int, noun: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_json(value: Any) -> None:
    """Print one JSON document; of a dataclass, its fields."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    text = json.dumps(value, indent=2)  # ASCII, and every control but one is escaped
    typer.echo(text.replace("\x7f", "\\u007f"))


def print_answer(
    as_json: bool, value: Any, columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1
) -> None:
    """Print a value as JSON, or for a person the table that shows it (see ``print_table``)."""
    if as_json:
        print_json(value)
    else:
        print_table(columns, rows, text)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> None:
    """Print a table; the first ``text`` columns are left-aligned, the rest are numbers.

    A table that is wider than the terminal is folded by rich, half a millisecond a row.
    """
    from rich.cells import cell_len

    rows = [[*map(escaped, row)] for row in rows]
    shown = [columns, *rows] if any(columns) else list(rows)
    sizes = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else _WIDE
    if sum(sizes) + len(_GAP) * (len(sizes) - 1) > width:
        _print_folded(columns, rows, text)
        return

    def line(cells: Sequence[str]) -> str:
        pads = [" " * (size - cell_len(cell)) for size, cell in zip(sizes, cells, strict=True)]
        aligned = [
            cell + pad if number < text else pad + cell
            for number, (cell, pad) in enumerate(zip(cells, pads, strict=True))
        ]
        return _GAP.join(aligned).rstrip()

    lines = list(map(line, shown))
    if any(columns) and terminal and not os.environ.get("NO_COLOR"):
        lines[0] = typer.style(lines[0], bold=True)
    if lines:
        sys.stdout.write("\n".join([*lines, ""]))  # echo chooses an encoding of its own


def _print_folded(columns: Sequence[str], rows: Sequence[Sequence[str]], text: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < text else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else _WIDE
    Console(width=width, highlight=False, markup=False, emoji=False).print(table)
