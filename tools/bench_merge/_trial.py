"""What is measured on which examples, and a row of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tools.realtasks import Family, RealTask, pooled_features, score

#: Task -> accuracy, 0..1.
Scores = dict[str, float]


@final
@dataclass(frozen=True)
class Examples:
    """Some examples of one task."""

    x: NDArray[Any]
    y: NDArray[Any]


@final
@dataclass(frozen=True)
class Trial:
    """A family and four disjoint sets of examples of each task.

    Attributes:
        family: base and fine-tunes.
        routing: training examples that routers see, without labels.
        choosing: training examples on which the layer to route at is chosen, without labels.
        tuning: training examples on which every method's parameters are chosen.
        tests: what the table reports.
    """

    family: Family
    routing: Mapping[str, NDArray[Any]]
    choosing: Mapping[str, NDArray[Any]]
    tuning: Mapping[str, Examples]
    tests: Mapping[str, Examples]

    @property
    def tasks(self) -> Mapping[str, RealTask]:
        """Tasks by name."""
        return self.family.tasks


def trial_of(family: Family, routing: int, choosing: int, tuning: int, tests: int) -> Trial:
    """Split each task's training examples; take its first tests."""
    tasks = family.tasks
    return Trial(
        family,
        {name: task.x_train[:routing] for name, task in tasks.items()},
        {name: task.x_train[routing : routing + choosing] for name, task in tasks.items()},
        {
            name: Examples(task.x_train[-tuning:], task.y_train[-tuning:])
            for name, task in tasks.items()
        },
        {name: Examples(task.x_test[:tests], task.y_test[:tests]) for name, task in tasks.items()},
    )


@final
@dataclass
class Row:
    """A method's line.

    Attributes:
        method: its name.
        setting: parameters chosen on the tuning examples.
        scores: accuracy of each task.
        stored: bytes beside the base (or instead of it, for one set of weights).
        passes: time of a batch against one forward pass of the base, by kind of batch.
        routed: share of the inputs that went to their own task.
        own_head: accuracy where an input that went elsewhere still gets its own task's head.
        confusion: true task -> task found -> inputs.
        note: for people.
    """

    method: str
    setting: str
    scores: Scores
    stored: int
    passes: dict[str, float] = field(default_factory=dict)
    routed: float | None = None
    own_head: Scores | None = None
    confusion: dict[str, dict[str, int]] | None = None
    note: str = ""

    @property
    def mean(self) -> float:
        """Mean accuracy over the tasks."""
        return mean(self.scores)


def mean(scores: Scores) -> float:
    """Mean accuracy over the tasks."""
    return float(np.mean(list(scores.values())))


def scores_of(
    trial: Trial,
    examples: Mapping[str, Examples],
    model_for: Callable[[str], torch.nn.Module],
) -> Scores:
    """Accuracy of each task under the model that a function returns for its name."""
    return {
        name: score(
            trial.tasks[name],
            pooled_features(trial.family, model_for(name), some.x),
            some.y,
        )
        for name, some in examples.items()
    }
