"""What a folder keeps of a run, so that one that was stopped goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import tvbank
from tools.bench._measure import appearing
from tools.bench.multitask._trial import Row
from tools.bench.paper._settings import Run, Vectors
from tools.bench.realtasks import RealTask
from tvbank import Bank, Compressor, FlexSwitch

Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class Kept:
    """A folder of banks, of resume files beside them, and of rows.

    Attributes:
        folder: of one family; made if it is not there.
        say: takes progress.
    """

    folder: Path
    say: Say

    def bank(self, run: Run, vectors: Vectors) -> Bank:
        """All tasks of a run, compressed one way; what is there is kept.

        What is returned reads the bytes anew.
        """
        path = self.folder / vectors.label(run)
        self.folder.mkdir(parents=True, exist_ok=True)
        bank = tvbank.open(path) if path.exists() else tvbank.create(path, base=run.family.base)
        for name, task in run.family.tasks.items():
            if name not in bank:
                self.say(f"{path.name}: {name}")
                bank.add(name, task.tuned, self._compressor(run, vectors, task))
                self._resume(run, vectors, task).unlink(missing_ok=True)
        return tvbank.open(path)

    def row(self, name: str, make: Callable[[], Row]) -> Row:
        """The row of that name, measured unless it is there."""
        path = self.folder / f"{name}.json"
        if path.exists():
            return Row.from_json(json.loads(path.read_text()))
        row = make()
        with appearing(path) as coming:
            coming.write_text(json.dumps(row.to_json()))
        return row

    def _compressor(self, run: Run, vectors: Vectors, task: RealTask) -> Compressor:
        made = vectors.make(run, task)
        if isinstance(made, FlexSwitch):
            return replace(made, checkpoint=self._resume(run, vectors, task))
        return made

    def _resume(self, run: Run, vectors: Vectors, task: RealTask) -> Path:
        return self.folder / f"{vectors.label(run)} {task.name}.npz"
