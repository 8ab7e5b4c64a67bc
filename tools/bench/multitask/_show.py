"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console
from rich.table import Table

from tools.bench.multitask._trial import Row, mean

#: What others are compared with, test by test.
_REFERENCES = ("fine-tuned", "EMR-Merging", "T-Switch, small", "Budget", "FlexSwitch")


def show(rows: Sequence[Row], tasks: Sequence[str], console: Console) -> None:
    """Print accuracy, storage and cost of each method, differences, and where inputs went."""
    table = Table()
    for name in ("method", "setting", *tasks, "mean", "MiB", "routed", "own head", "passes"):
        table.add_column(name, justify="left" if name in ("method", "setting") else "right")
    for row in rows:
        table.add_row(
            row.method,
            row.setting,
            *(f"{row.scores[task]:.3f}" for task in tasks),
            f"{row.mean:.4f}",
            f"{row.stored / 2**20:.2f}",
            "" if row.routed is None else f"{row.routed:.4f}",
            "" if row.own_head is None else f"{mean(row.own_head):.4f}",
            " / ".join(f"{ratio:.2f}" for ratio in row.passes.values()),
        )
    console.print(table)
    console.print(
        "MiB: stored beside the base, or instead of it. own head: the true task's head even where "
        "the input was routed elsewhere. passes: time of a batch of 32 over one forward pass of "
        "the base, of one task / of four."
    )
    _show_differences(rows, console)
    for row in rows:
        if row.confusion:
            _show_confusion(row, console)


def _show_differences(rows: Sequence[Row], console: Console) -> None:
    """Points above each reference, with standard errors of the same tests, and over seeds."""
    others = [row for name in _REFERENCES for row in rows if row.method == name]
    table = Table(title="points above … ± standard error, paired", title_justify="left")
    table.add_column("")
    for other in others:
        table.add_column(other.method, justify="right")
    table.add_column("± over draws of the router's examples", justify="right")
    for row in rows:
        found = [row.less(other) for other in others]
        cells = [f"{100 * apart:+.2f} ± {100 * error:.2f}" for apart, error in found]
        spread = f"{100 * np.std(row.seeds, ddof=1):.2f}" if len(row.seeds) > 1 else ""
        table.add_row(row.method, *cells, spread)
    console.print(table)


def _show_confusion(row: Row, console: Console) -> None:
    assert row.confusion is not None
    found = sorted({name for counts in row.confusion.values() for name in counts})
    table = Table(title=f"{row.method}: true task (rows), task found", title_justify="left")
    table.add_column("")
    for name in found:
        table.add_column(name, justify="right")
    for task, counts in row.confusion.items():
        table.add_row(task, *(str(counts.get(name, 0) or "·") for name in found))
    console.print(table)
