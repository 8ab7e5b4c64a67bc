"""From weights of tasks to the states that the model has to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

#: How weights are followed: one by one, averaged over the batch, or the largest alone.
Mode = Literal["sample", "batch", "top1"]
MODES: tuple[Mode, ...] = ("sample", "batch", "top1")

#: Sums of shares may be this far off.
_SLACK = 1e-6


@final
@dataclass(frozen=True)
class Group:
    """Examples that run together.

    Attributes:
        rows: int64 [examples], their indices in the batch, ascending.
        tasks: what the model becomes: a task as it is stored, a weighted sum of tasks on top of the
            base, or ``None`` for the base.
        heads: the task whose units kept whole take their places; ``None`` for the base's.
    """

    rows: NDArray[np.int64]
    tasks: str | dict[str, float] | None
    heads: str | None

    @property
    def names(self) -> frozenset[str]:
        """Every task that is needed."""
        alone = {self.tasks} if isinstance(self.tasks, str) else set(self.tasks or ())
        return frozenset(alone if self.heads is None else alone | {self.heads})

    @property
    def label(self) -> str:
        """How to call it in an error."""
        return "the base" if self.tasks is None else f"{self.tasks!r}"


def leaders(
    weights: NDArray[np.float64], top: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The column of each row's largest weight, or -1 where the base's share is larger still.

    The base's share is one minus the sum of the row.

    Args:
        weights: float64 [n, K].
        top: int64 [n], the columns that win where several have the largest weight; by default the
            first of them.
    """
    largest = weights.max(1)
    first = weights.argmax(1)
    if top is not None:
        wished = np.take_along_axis(weights, np.maximum(top, 0)[:, None], 1)[:, 0]
        first = np.where((top >= 0) & (wished == largest), top, first)
    rest = 1 - weights.sum(1)
    return np.where(rest > largest + _SLACK, -1, first).astype(np.int64)


def followed(
    weights: NDArray[np.float64], top: NDArray[np.int64], mode: Mode
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The weights that each example runs under, and the task that leads.

    Args:
        weights: float64 [n, K], as the router gives them.
        top: int64 [n], the router's choice where weights are equal.
        mode: ``sample`` leaves them ([F] Eq. 5); ``batch`` gives each row the mean of all (the
            public code of [T]); ``top1`` puts one on the largest, or on the base.

    Returns:
        float64 [n, K], and int64 [n], -1 where the base leads.
    """
    if mode == "sample":
        return weights, leaders(weights, top)
    if mode == "batch":
        mean = np.repeat(weights.mean(0, keepdims=True), len(weights), 0)
        return mean, leaders(mean)
    lead = leaders(weights, top)
    return one_task_each(lead, weights.shape[1]), lead


def one_task_each(lead: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """All weight on the task that leads, float64 [n, K]; a row of zeros where the base does, -1."""
    hard = np.zeros((len(lead), count))
    known = np.flatnonzero(lead >= 0)
    hard[known, lead[known]] = 1
    return hard


def groups_of(
    weights: NDArray[np.float64],
    lead: NDArray[np.int64],
    names: Sequence[str],
    active: str | dict[str, float] | None,
) -> list[Group]:
    """Examples with equal weights and heads, together.

    Args:
        weights: float64 [n, K], those that are followed.
        lead: int64 [n], the task whose heads each example needs, -1 for the base's.
        names: the K tasks.
        active: what the model is now: its group comes first, as it needs no change.

    Returns:
        The groups; the others in the order of their first example.
    """
    both = np.column_stack([weights, lead])
    rows, firsts, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    groups = []
    for number in np.argsort(firsts, kind="stable").tolist():
        row, leader = rows[number, :-1], int(rows[number, -1])
        present = np.flatnonzero(row)
        tasks: str | dict[str, float] | None
        if len(present) == 0:
            tasks = None
        elif len(present) == 1 and row[present[0]] == 1:
            tasks = names[present[0]]
        else:
            tasks = {names[column]: float(row[column]) for column in present.tolist()}
        heads = None if leader < 0 else names[leader]
        groups.append(Group(np.flatnonzero(inverse == number), tasks, heads))
    return sorted(groups, key=lambda group: group.tasks != active)
