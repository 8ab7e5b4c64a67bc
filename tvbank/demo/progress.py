"""Progress bars of the demo: one bar a stage, which stays on the screen when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

#: Called after each step.
Step = Callable[[], object]

#: Called with what is done and what there is, in any unit.
Report = Callable[[float, float], object]

_DESCRIPTION = 34  # columns, so that the bars stand below each other


@final
class Stages:
    """Shows stages of the work on a console, one after the other."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet

    @contextmanager
    def steps(self, what: str, total: int) -> Iterator[Step]:
        """A stage of so many equal steps; call what is yielded after each."""
        done = 0

        def step() -> None:
            nonlocal done
            done += 1
            report(done, total)

        with self.parts(what, 1) as parts:
            report = parts(0)
            yield step

    @contextmanager
    def parts(self, what: str, count: int) -> Iterator[Callable[[int], Report]]:
        """A stage of so many parts; call what is yielded with a part's number for its report."""
        columns = (
            TextColumn(f"{{task.description:<{_DESCRIPTION}}}"),
            BarColumn(bar_width=20),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, disable=self._quiet) as progress:
            bar = progress.add_task(what, total=count)

            def part(number: int) -> Report:
                def report(done: float, total: float) -> None:
                    share = done / total if total else 1.0
                    progress.update(bar, completed=number + share)

                return report

            yield part
            progress.update(bar, completed=count)
