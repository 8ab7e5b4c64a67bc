"""The fine-tunes, the bank that holds them in every form, and rows that are made once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import tvbank
from tools.bench._measure import appearing
from tools.bench.realtasks.language import Language, Run, TextTask
from tools.bench.realtasks.language.folder import Score, score

Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class Row:
    """How one task does in one form.

    Attributes:
        task: its name.
        method: how it is kept.
        setting: of the method.
        loss: nats of a token that counts, on tests.
        exact: share of exact matches on tests.
        bytes: that the task takes in the bank.
        seconds: of making it, on the machine that made it; 0 if that was not taken.
    """

    task: str
    method: str
    setting: str
    loss: float
    exact: float
    bytes: int | None = None
    seconds: float = 0.0


@final
@dataclass(frozen=True)
class Trial:
    """What is measured.

    Attributes:
        language: base and tasks.
        names: of the tasks that are measured.
        run: how long they were trained.
        whole: rates of whole fine-tunes to choose among.
        lora: rates of adapters to choose among.
        tests: examples that are scored, at most.
        say: takes progress.
    """

    language: Language
    names: Sequence[str]
    run: Run
    whole: Sequence[float]
    lora: Sequence[float]
    tests: int | None
    say: Say

    @cached_property
    def bank(self) -> tvbank.Bank:
        """Every form of every task; made if it is not there."""
        place = self.language.folder / f"bank-{self.run}"
        there = place.exists()
        return tvbank.open(place) if there else tvbank.create(place, base=self.language.base)

    @cached_property
    def model(self) -> Any:
        """The base, which turns into tasks and back."""
        return self.language.model()

    @cached_property
    def switch(self) -> tvbank.Switch:
        """Turns it."""
        return tvbank.attach(self.model, self.bank)

    def task(self, name: str) -> TextTask:
        """One of the tasks."""
        return self.language.tasks[name]

    def tested(self, name: str, model: Any = None) -> Score:
        """The score of a model on a task's tests; by default of the one that turns into tasks."""
        return score(self.model if model is None else model, self.task(name), "test", self.tests)

    def stored(
        self, task: str, form: str, source: Path, compressor: Any = None
    ) -> tuple[tvbank.Task, float]:
        """A task in the bank, added if it is not there, and the seconds that adding took.

        Args:
            task: its name.
            form: how it is kept; with the task's name its name in the bank.
            source: a fine-tune or an adapter.
            compressor: made only if it is needed.
        """
        name, seconds = f"{task}.{form}", 0.0
        if name not in self.bank:
            start = time.perf_counter()
            self.bank.add(name, source, compressor and compressor(), base=self.language.base)
            seconds = time.perf_counter() - start
        return self.bank[name], seconds

    def row(self, task: str, method: str, setting: str, make: Callable[[], Row]) -> Row:
        """A row of the table, made unless it is in the file of rows."""
        key = f"{task} | {method} | {setting} | {self.tests}"
        rows = self._read()
        if key not in rows:
            row = make()
            with self._rows() as now:
                now[key] = asdict(row)
            bytes_ = "" if row.bytes is None else f", {row.bytes:,} bytes"
            self.say(
                f"{task}, {method} {setting}: loss {row.loss:.4f}, exact {row.exact:.3f}{bytes_}"
            )
            return row
        return Row(**rows[key])

    def from_bank(
        self, task: str, method: str, setting: str, form: str, source: Callable[[], Path],
        compressor: Any = None,
    ) -> Row:  # fmt: skip
        """The row of a task that is read back from the bank."""

        def make() -> Row:
            stored, seconds = self.stored(task, form, source(), compressor)
            with self.switch(stored.name):
                found = self.tested(task)
            return Row(task, method, setting, *found, stored.stored_bytes, round(seconds, 1))

        return self.row(task, method, setting, make)

    @property
    def _path(self) -> Path:
        return self.language.folder / f"rows-{self.run}.json"

    def _read(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}

    @contextmanager
    def _rows(self) -> Iterator[dict[str, Any]]:
        rows = self._read()
        yield rows
        with appearing(self._path) as coming:
            coming.write_text(json.dumps(rows, indent=1))
