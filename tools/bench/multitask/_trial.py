"""What is measured on which examples, from which banks, and a row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

import tvbank
from tools.bench.realtasks import Family, RealTask, pooled_features
from tvbank import Bank
from tvbank.compress import Compressor

#: Task -> of each example whether it was answered right, 0 or 1; a mean where chance had a part.
Hits = dict[str, NDArray[np.float64]]


@final
@dataclass(frozen=True)
class Examples:
    """Some examples of one task."""

    x: NDArray[Any]
    y: NDArray[Any]


@final
@dataclass(frozen=True)
class Trial:
    """A family and three disjoint sets of examples of each task.

    Attributes:
        family: base and fine-tunes.
        tuning: training examples on which every method's parameters are chosen.
        tests: what the table reports.
        routing: how many training examples routers see, without labels.
    """

    family: Family
    tuning: Mapping[str, Examples]
    tests: Mapping[str, Examples]
    routing: int

    @property
    def tasks(self) -> Mapping[str, RealTask]:
        """Tasks by name."""
        return self.family.tasks

    def examples(self, seed: int) -> dict[str, NDArray[Any]]:
        """Training examples of each task for routers, drawn from those that tune nothing."""
        found = {}
        for name, task in self.tasks.items():
            rest = len(task.x_train) - len(self.tuning[name].y)
            chosen = np.random.default_rng(seed).permutation(rest)[: self.routing]
            found[name] = task.x_train[np.sort(chosen)]
        return found


def trial_of(family: Family, routing: int, tuning: int, tests: int | None) -> Trial:
    """Take the end of each task's training examples, and its first tests (None: all)."""
    tasks = family.tasks
    return Trial(
        family,
        {
            name: Examples(task.x_train[-tuning:], task.y_train[-tuning:])
            for name, task in tasks.items()
        },
        {name: Examples(task.x_test[:tests], task.y_test[:tests]) for name, task in tasks.items()},
        routing,
    )


@final
@dataclass(frozen=True)
class Row:
    """A method's line.

    Attributes:
        method: its name.
        setting: parameters chosen on the tuning examples.
        hits: what was answered right.
        stored: bytes beside the base (or instead of it, for one set of weights).
        passes: time of a batch against one forward pass of the base, by kind of batch.
        routed: share of the inputs that went to their own task, the mean over the tasks.
        own_head: what would be right if inputs that went elsewhere still got their own task's head.
        confusion: true task -> task found -> inputs.
        seeds: the mean accuracy with each draw of the router's examples.
        note: for people.
    """

    method: str
    setting: str
    hits: Hits
    stored: int
    passes: dict[str, float] = field(default_factory=dict)
    routed: float | None = None
    own_head: Hits | None = None
    confusion: dict[str, dict[str, int]] | None = None
    seeds: tuple[float, ...] = ()
    note: str = ""

    @property
    def scores(self) -> dict[str, float]:
        """Accuracy of each task."""
        return {name: float(some.mean()) for name, some in self.hits.items()}

    @property
    def mean(self) -> float:
        """Mean accuracy over the tasks."""
        return mean(self.hits)

    def less(self, other: Row) -> tuple[float, float]:
        """Mean accuracy less another's on the same tests, and the standard error, paired.

        The tests are the sample; the tasks are as they are.
        """
        apart = [some - other.hits[name] for name, some in self.hits.items()]
        errors = [float(each.var(ddof=1)) / len(each) for each in apart]
        return self.mean - other.mean, float(np.sqrt(sum(errors))) / len(errors)

    def to_json(self) -> dict[str, Any]:
        """All of it, with the accuracies spelt out."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        for name in ("hits", "own_head"):
            some = found[name]
            found[name] = some and {task: np.round(each, 4).tolist() for task, each in some.items()}
        return {"scores": self.scores, "mean": self.mean, **found}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Row:
        """What ``to_json`` made."""
        found = {name: value[name] for name in cls.__dataclass_fields__}
        for name in ("hits", "own_head"):
            some = found[name]
            found[name] = some and {task: np.asarray(each) for task, each in some.items()}
        return cls(**{**found, "seeds": tuple(found["seeds"])})


def mean(hits: Hits) -> float:
    """Mean accuracy over the tasks."""
    return float(np.mean([each.mean() for each in hits.values()]))


def averaged(rows: Sequence[Row]) -> Row:
    """One row of those of several seeds: means; inputs of all are counted in the confusion."""

    def over(parts: Sequence[Hits]) -> Hits:
        return {name: np.mean([part[name] for part in parts], 0) for name in parts[0]}

    first = rows[0]
    shares = [row.routed for row in rows if row.routed is not None]
    owns = [row.own_head for row in rows if row.own_head is not None]
    confusion: dict[str, dict[str, int]] = {}
    for row in rows:
        for task, counts in (row.confusion or {}).items():
            sums = confusion.setdefault(task, {})
            for name, count in counts.items():
                sums[name] = sums.get(name, 0) + count
    return replace(
        first,
        setting="; ".join(dict.fromkeys(row.setting for row in rows)),
        hits=over([row.hits for row in rows]),
        stored=round(np.mean([row.stored for row in rows])),
        passes={
            kind: float(np.median([row.passes[kind] for row in rows])) for kind in first.passes
        },
        routed=float(np.mean(shares)) if shares else None,
        own_head=over(owns) if owns else None,
        confusion=confusion or None,
        seeds=tuple(row.mean for row in rows),
    )


def hits_of(
    trial: Trial,
    examples: Mapping[str, Examples],
    model_for: Callable[[str], torch.nn.Module],
) -> Hits:
    """What the model that a function returns for each task's name answers right."""
    return {
        name: answered(
            trial.tasks[name], pooled_features(trial.family, model_for(name), some.x), some.y
        )
        for name, some in examples.items()
    }


def answered(task: RealTask, features: torch.Tensor, y: NDArray[Any]) -> NDArray[np.float64]:
    """Whether the task's head gives features [n, width] their labels in y [n]; float64, 0 or 1."""
    logits = features @ task.head_weight.T + task.head_bias
    return np.asarray(logits.argmax(1).numpy() == y, np.float64)


State = dict[str, torch.Tensor]


def bank_of(trial: Trial, path: Path, compressor: Callable[[RealTask], Compressor]) -> Bank:
    """Write a bank of all fine-tunes; what is returned reads its bytes anew.

    A bank that lies there is taken as it is, its missing tasks added.
    """
    bank = tvbank.open(path) if path.exists() else tvbank.create(path, base=trial.family.base)
    for name, task in trial.tasks.items():
        if name not in bank:
            bank.add(name, task.tuned, compressor(task))
    return tvbank.open(path)


def stored_bytes(bank: Bank) -> int:
    """Bytes of all tasks."""
    return sum(task.stored_bytes for task in bank.values())


def switched_hits(trial: Trial, examples: Mapping[str, Examples], bank: Bank) -> Hits:
    """What is right with the task known, from a live model that the bank is attached to."""
    model = trial.family.model()
    switch = tvbank.attach(model, bank)

    def to(name: str) -> torch.nn.Module:
        switch.to(name)
        return model

    return hits_of(trial, examples, to)


def loader(trial: Trial) -> Callable[[State], torch.nn.Module]:
    """A function that puts weights into a model of the family."""
    model = trial.family.model()

    def load(state: State) -> torch.nn.Module:
        model.load_state_dict(state)
        return model

    return load
