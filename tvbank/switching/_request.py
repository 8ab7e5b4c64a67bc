"""What was asked for: tasks, their weights, and whose heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from tvbank.bank.bank import Bank
from tvbank.errors import TaskNotFoundError, UsageError

#: A task by name, or a weighted sum of tasks.
Tasks = str | Mapping[str, float]


@final
@dataclass(frozen=True)
class Request:
    """One state of a model.

    Attributes:
        tasks: (name, weight), in the order in which they are added; the weight is ``None`` for one
            task as it is.
        heads: the task whose units kept whole take their places, or ``None``.
    """

    tasks: tuple[tuple[str, float | None], ...] = ()
    heads: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every task that is needed, once."""
        heads = () if self.heads is None else (self.heads,)
        return tuple(dict.fromkeys((*(name for name, _ in self.tasks), *heads)))

    @property
    def asked(self) -> str | dict[str, float] | None:
        """The request as ``Switch.to`` takes it; ``None`` for the base."""
        if len(self.tasks) == 1 and self.tasks[0][1] is None:
            return self.tasks[0][0]
        weights = {name: weight for name, weight in self.tasks if weight is not None}
        return weights or None


def read_request(bank: Bank, tasks: Tasks, heads: str | None) -> Request:
    """Check what a user asks for.

    Raises:
        TaskNotFoundError: the bank has no such task.
        UsageError: a weight is not a finite number, or ``tasks`` is neither a name nor a mapping.
    """
    if isinstance(tasks, str):
        request = Request(((tasks, None),), tasks if heads is None else heads)
    elif isinstance(tasks, Mapping):
        request = Request(tuple((name, _weight(name, w)) for name, w in tasks.items()), heads)
    else:
        raise UsageError(
            f"switch to a task's name or to a mapping of names to weights, not to {tasks!r}"
        )
    for name in request.names:
        if name not in bank:
            known = ", ".join(map(repr, bank)) or "none yet"
            raise TaskNotFoundError(f"{bank.location} has no task {name!r}; it has {known}")
    return request


def _weight(name: str, weight: object) -> float:
    try:
        number = float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the weight of task {name!r} must be a finite number, got {weight!r}")
    return number
