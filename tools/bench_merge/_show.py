"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from tools.bench_merge._trial import Row, mean


def show(rows: Sequence[Row], tasks: Sequence[str], console: Console) -> None:
    """Print accuracy, storage and cost of each method, then where inputs went."""
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
    for row in rows:
        if row.confusion:
            _show_confusion(row, console)


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
