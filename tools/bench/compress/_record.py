"""Every measurement so far, in a file from which an interrupted run goes on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

from tools.bench._measure import machine
from tools.bench.compress._measure import Measured

_Scores = dict[tuple[str, str], float]


@final
@dataclass
class Record:
    """What was measured.

    Attributes:
        path: of the JSON file, written after every measurement; None for none.
        rows: one for each task, setting and seed.
        base: accuracy of the base, by family and task.
        tuned: accuracy of the fine-tune, by family and task.
    """

    path: Path | None
    rows: list[Measured] = field(default_factory=list)
    base: _Scores = field(default_factory=dict)
    tuned: _Scores = field(default_factory=dict)

    @staticmethod
    def load(path: Path | None) -> Record:
        """What an earlier run left, if there was one."""
        record = Record(path)
        if path is not None and path.exists():
            saved = json.loads(path.read_text())
            record.rows = [Measured(**row) for row in saved["rows"]]
            record.base = _by_pair(saved["base"])
            record.tuned = _by_pair(saved["tuned"])
        return record

    def has(self, family: str, task: str, method: str, label: str, seed: int) -> bool:
        """Whether a setting was measured on a task with a seed."""
        wanted = (family, task, method, label, seed)
        return any((r.family, r.task, r.method, r.label, r.seed) == wanted for r in self.rows)

    def refer(self, family: str, task: str, base: float, tuned: float) -> None:
        """Note the accuracies that all others lie between."""
        self.base[family, task], self.tuned[family, task] = base, tuned
        self._write()

    def add(self, row: Measured) -> None:
        """Note one measurement."""
        self.rows.append(row)
        self._write()

    def _write(self) -> None:
        if self.path is None:
            return
        facts = {
            "machine": machine(),
            "base": {"/".join(key): value for key, value in self.base.items()},
            "tuned": {"/".join(key): value for key, value in self.tuned.items()},
            "rows": [asdict(row) for row in self.rows],
        }
        beside = self.path.with_name(f"{self.path.name}.tmp")
        beside.write_text(json.dumps(facts, indent=1))
        os.replace(beside, self.path)


def _by_pair(scores: dict[str, float]) -> _Scores:
    pairs = (name.split("/", 1) for name in scores)
    return {(family, task): scores[f"{family}/{task}"] for family, task in pairs}
