"""Every measurement so far, in a file from which an interrupted run goes on, and means of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, pstdev
from typing import final

from tools.bench._measure import appearing, machine
from tools.bench.compress._measure import Measured
from tvbank.reporting import Point

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
        with appearing(self.path) as coming:
            coming.write_text(json.dumps(facts, indent=1))


def _by_pair(scores: dict[str, float]) -> _Scores:
    pairs = (name.split("/", 1) for name in scores)
    return {(family, task): scores[f"{family}/{task}"] for family, task in pairs}


@final
@dataclass(frozen=True)
class Mean:
    """A setting, over tasks and seeds.

    Attributes:
        lost: accuracy of the fine-tunes minus that of what was stored, in points.
        spread: standard deviation over seeds of the mean over tasks, in points.
    """

    method: str
    label: str
    stored_bytes: float
    share: float
    bits_per_parameter: float
    accuracy: float
    lost: float
    spread: float
    seconds: float


def summarise(rows: Sequence[Measured], tuned: dict[tuple[str, str], float]) -> list[Mean]:
    """Mean of each setting over its tasks and seeds.

    Args:
        rows: all of one family or of several.
        tuned: accuracy of the fine-tune, by family and task.
    """
    groups: dict[tuple[str, str], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.method, row.label), []).append(row)
    return [_mean(group, tuned) for group in groups.values()]


def _mean(group: Sequence[Measured], tuned: dict[tuple[str, str], float]) -> Mean:
    seeds = sorted({row.seed for row in group})
    by_seed = [fmean(row.accuracy for row in group if row.seed == seed) for seed in seeds]
    return Mean(
        group[0].method,
        group[0].label,
        fmean(row.stored_bytes for row in group),
        fmean(row.share for row in group),
        fmean(row.bits_per_parameter for row in group),
        fmean(row.accuracy for row in group),
        100 * fmean(tuned[row.family, row.task] - row.accuracy for row in group),
        100 * pstdev(by_seed),
        fmean(row.seconds for row in group),
    )


def rows_of(means: Sequence[Mean]) -> list[dict[str, object]]:
    """Rows of a table."""
    return [
        {
            "method": mean.method, "setting": mean.label, "% of fp32": 100 * mean.share,
            "bits/param": mean.bits_per_parameter, "accuracy": mean.accuracy,
            "lost, points": mean.lost, "±": mean.spread, "seconds": mean.seconds,
        }
        for mean in means
    ]  # fmt: skip


def lines(means: Sequence[Mean]) -> dict[str, list[Point]]:
    """Points of a picture, by method."""
    found: dict[str, list[Point]] = {}
    for mean in means:
        point = Point(
            {"name": mean.method, "setting": mean.label}, round(mean.stored_bytes),
            mean.bits_per_parameter, mean.share, mean.accuracy, mean.seconds,
        )  # fmt: skip
        found.setdefault(mean.method, []).append(point)
    return found
