"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console

from tools.bench._measure import table
from tools.bench.multitask._trial import Row, mean

#: What others are compared with, test by test.
_REFERENCES = ("fine-tuned", "EMR-Merging", "T-Switch, small", "Budget", "FlexSwitch")


def show(rows: Sequence[Row], console: Console) -> None:
    """Print accuracy, storage and cost of each method, differences, and where inputs went."""
    shown = [
        {
            "method": row.method, "setting": row.setting, **row.scores, "mean": row.mean,
            "MiB": row.stored / 2**20, "routed": row.routed,
            "own head": row.own_head and mean(row.own_head),
            "passes": " / ".join(f"{ratio:.2f}" for ratio in row.passes.values()),
        }
        for row in rows
    ]  # fmt: skip
    console.print(table("", shown))
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
    shown = []
    for row in rows:
        cells = {"method": row.method}
        for other in others:
            apart, error = row.less(other)
            cells[other.method] = f"{100 * apart:+.2f} ± {100 * error:.2f}"
        spread = f"{100 * np.std(row.seeds, ddof=1):.2f}" if len(row.seeds) > 1 else ""
        shown.append({**cells, "± over draws of the router's examples": spread})
    console.print(table("points above … ± standard error, paired", shown))


def _show_confusion(row: Row, console: Console) -> None:
    assert row.confusion is not None
    found = sorted({name for counts in row.confusion.values() for name in counts})
    shown = [
        {"": task, **{name: counts.get(name) for name in found}}
        for task, counts in row.confusion.items()
    ]
    console.print(table(f"{row.method}: true task (rows), task found", shown))
