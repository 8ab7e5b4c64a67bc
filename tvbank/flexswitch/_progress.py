"""What is told of the learning while it runs, and a bar for terminals."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Step:
    """Where the learning is.

    Attributes:
        step: steps done.
        steps: in all.
        loss: distance from the fine-tuned model on the last batch.
        density: share of entries that are kept; while gates are soft, their sum.
        bits: mean bits of a kept entry.
        bytes: what the task would take in the bank, estimated.
    """

    step: int
    steps: int
    loss: float
    density: float
    bits: float
    bytes: int


#: Called after every step.
Report = Callable[[Step], object]


@contextmanager
def step_bar(what: str) -> Iterator[Report]:
    """A bar on the standard error, on terminals only; call it with each ``Step``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[now]}", markup=False), Remaining(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None, now="")

        def report(now: Step) -> None:
            text = (
                f"loss {now.loss:.3g}, density {now.density:.2%}, {now.bits:.1f} bits, "
                f"{now.bytes / 1024:.0f} KiB"
            )
            bar.update(task, completed=now.step, total=now.steps, now=text)

        yield report
