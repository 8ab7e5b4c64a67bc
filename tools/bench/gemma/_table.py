"""The table: what every method keeps of what the fine-tune gained over the base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from tools.bench._measure import table
from tools.bench.gemma._trial import Row


def figures(rows: Sequence[Row], base_bytes: int) -> list[dict[str, Any]]:
    """The rows' cells, and the share of the fine-tune's gain in loss that each keeps.

    Args:
        rows: the base and the fine-tune among those of each task.
        base_bytes: of the base's weights.
    """
    found = {(row.task, row.method): row for row in rows if row.method in ("base", "fine-tuned")}
    shown = []
    for row in rows:
        base, tuned = found.get((row.task, "base")), found.get((row.task, "fine-tuned"))
        gain = (base.loss - tuned.loss) if base and tuned else 0
        shown.append(
            {
                "task": row.task, "method": row.method, "setting": row.setting, "bytes": row.bytes,
                "% of the base": None if row.bytes is None else 100 * row.bytes / base_bytes,
                "loss": row.loss, "exact": row.exact,
                "gain kept": (base.loss - row.loss) / gain if base and gain else None,
                "seconds": row.seconds or None,
            }
        )  # fmt: skip
    return shown


def show(rows: Sequence[Row], base_bytes: int, left: Sequence[str]) -> None:
    """Print the rows, task by task, and what was not run."""
    console = Console(width=200)
    cells = figures(rows, base_bytes)
    for task in dict.fromkeys(row.task for row in rows):
        some = [cell | {"task": None} for cell in cells if cell["task"] == task]
        shown = [{name: cell[name] for name in cell if name != "task"} for cell in some]
        console.print(table(task, shown))
    if left:
        console.print(f"not asked for: {', '.join(left)}")
