"""How far work has come: one protocol for what works and for what shows it, and one bar.

What works is given a ``Progress`` and reports to it; no compressor or method holds one. Users may
also give a function of two numbers, done and total, or nothing: see ``listener``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol, Self, final

from tvbank._notebook import NotebookRows
from tvbank.errors import escaped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Rows
    from rich.progress import TaskID


class Progress(Protocol):
    """Is shown how far work has come."""

    def report(
        self, stage: str, done: int, total: int, unit: str = "bytes", detail: object = ""
    ) -> object:
        """Called whenever a part of some work is done, by one thread at a time.

        Args:
            stage: which part of the work, such as ``"choosing"``; empty for the work itself.
            done: how much of the stage is done; it never falls.
            total: how much there is; 0 while that is not known.
            unit: what is counted: ``"bytes"``, ``"steps"``, ``"units"``, ``"tasks"``.
            detail: what is known besides, to be shown as text.
        """


#: What users may give as ``progress``.
Listener = Progress | Callable[[int, int], object] | None


@final
class Silent:
    """Shows nothing."""

    def report(
        self, stage: str, done: int, total: int, unit: str = "bytes", detail: object = ""
    ) -> None:
        """See ``Progress.report``."""


SILENT = Silent()


@final
class _Numbers:
    """A function of two numbers, called with what is counted in one unit."""

    def __init__(self, function: Callable[[int, int], object], unit: str) -> None:
        self._function, self._unit = function, unit

    def report(
        self, stage: str, done: int, total: int, unit: str = "bytes", detail: object = ""
    ) -> None:
        """See ``Progress.report``."""
        if unit == self._unit:
            self._function(done, total)


def listener(progress: Listener, unit: str = "bytes") -> Progress:
    """The ``Progress`` that a user gave: an object with ``report``, a function, or None.

    Args:
        progress: a function is called with done and total of the stages counted in ``unit``.
        unit: see ``Progress.report``.
    """
    if progress is None:
        return SILENT
    return _Numbers(progress, unit) if callable(progress) else progress


@final
class Counter:
    """Adds up what is done of one stage, and reports it.

    Attributes:
        progress: to which it reports.
    """

    def __init__(
        self, progress: Progress, total: int, unit: str = "bytes", stage: str = ""
    ) -> None:
        self.progress = progress
        self._stage, self._total, self._unit, self._done = stage, total, unit, 0

    @property
    def done(self) -> int:
        """How much is done."""
        return self._done

    def advance(self, number: int = 1) -> None:
        """So much more is done; never more than the total."""
        self._done = min(self._done + number, self._total)
        self.progress.report(self._stage, self._done, self._total, self._unit)

    def end(self) -> None:
        """All of it is done, or need not be done."""
        self.advance(self._total)


@final
class Bar:
    """A ``Progress`` for terminals and notebooks: a row for every stage that is under way.

    On the standard error, or in the notebook's cell, and gone at the end; where there is neither,
    nothing is shown.
    """

    def __init__(self, what: str, console: Console | None = None, *, keep: bool = False) -> None:
        """Describe the bar; it is shown within ``with``.

        Args:
            what: the work, in words; may be empty if all of its stages have names.
            console: another place than the standard error, shown in any case.
            keep: whether the rows stay on the screen.
        """
        self._what, self._console, self._keep = what, console, keep
        self._stack = ExitStack()
        self._bar: Rows | None = None
        self._rows: dict[str, TaskID] = {}
        self._notebook: NotebookRows | None = None

    def __enter__(self) -> Self:
        from rich.console import Console

        console = Console(stderr=True) if self._console is None else self._console
        if self._console is None and console.is_jupyter:  # rich needs widgets there
            self._notebook = NotebookRows(self._what, keep=self._keep)
            self._stack.callback(self._notebook.close)
            return self
        shown = self._console is not None or console.is_terminal
        if shown:
            self._bar = self._stack.enter_context(_rows(console, keep=self._keep))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def report(
        self, stage: str, done: int, total: int, unit: str = "bytes", detail: object = ""
    ) -> None:
        """See ``Progress.report``."""
        if self._notebook is not None:
            self._notebook.report(stage, done, total, unit, detail)
        if self._bar is None:
            return
        if stage not in self._rows:
            if not self._keep:
                for row in self._bar.tasks:  # what has ended makes way
                    self._bar.update(row.id, visible=not row.finished)
            what = ": ".join(filter(None, (self._what, stage)))
            self._rows[stage] = self._bar.add_task(escaped(what), total=None, unit=unit, detail="")
        self._bar.update(
            self._rows[stage], completed=done, total=total or None, detail=escaped(str(detail))
        )


def _rows(console: Console, *, keep: bool) -> Rows:
    """Rows with a description, a bar, counts in the row's unit, details and the time that is left.

    Args:
        console: where.
        keep: whether they stay at the end.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Rows
    from rich.text import Text

    class Counts(ProgressColumn):
        def __init__(self) -> None:
            super().__init__()
            self._bytes, self._others = DownloadColumn(binary_units=True), MofNCompleteColumn()

        def render(self, task: Any) -> Text:
            column = self._bytes if task.fields["unit"] == "bytes" else self._others
            return column.render(task)

    return Rows(
        TextColumn("{task.description}", markup=False), BarColumn(), Counts(),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=keep),
        console=console, transient=not keep,
    )  # fmt: skip
