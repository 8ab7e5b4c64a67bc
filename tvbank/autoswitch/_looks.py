"""A second look: examples also run under other likely tasks, and the surest answer stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.autoswitch._batch import Part, some_of
from tvbank.autoswitch._choice import Group, groups_of, one_task_each
from tvbank.errors import UsageError

#: What the model returned for examples, and the task that it was -> how likely each answer is
#: right if the task is the right one, [n], 0..1.
Surety = Callable[[Any, str], Any]

#: Runs a group: its examples and what the model returned.
Run = Callable[[Sequence[Group]], list[Part]]


def largest_probability(outputs: Any, task: str) -> torch.Tensor:
    """The largest softmax probability of logits [n, classes], ``outputs.logits`` or a tensor, [n].

    Raises:
        UsageError: there are no such logits.
    """
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else outputs
    logits = getattr(logits, "logits", logits)
    if not (isinstance(logits, torch.Tensor) and logits.ndim == 2 and logits.shape[1] > 1):
        raise UsageError(
            "looks= compares answers, and the model returns no logits [n, classes]: give surety=, "
            "a function of the outputs and the task's name"
        )
    return logits.float().softmax(1).amax(1)


@final
@dataclass(frozen=True)
class Looked:
    """What became of the examples of a call.

    Attributes:
        parts: each example once, in the run whose answer stays, as ``stack`` takes them.
        labels: what to call each part in an error.
        lead: int64 [n], the task whose answer stays.
        runs: how often the model was called.
        again: examples that ran under more than one task.
    """

    parts: list[Part]
    labels: list[str]
    lead: NDArray[np.int64]
    runs: int
    again: int


def look_again(
    parts: Sequence[Part],
    groups: Sequence[Group],
    likely: NDArray[np.float64],
    lead: NDArray[np.int64],
    names: Sequence[str],
    looks: int,
    surety: Surety,
    run: Run,
) -> Looked:
    """Run examples under their next likely tasks too, where that could give a better answer.

    An answer is right with probability p·s, p the router's posterior of the task and s how sure the
    answer is under it. The most probable answer stays; another task is tried only where its p alone
    is above the p·s at hand, as s is 1 at most.

    Args:
        parts: what has run: each group's examples and output.
        groups: those groups.
        likely: float64 [n, K], posteriors.
        lead: int64 [n], the task that each example ran under; those of the base, -1, stay.
        names: the K tasks.
        looks: tasks that an example runs under at most.
        surety: see ``Surety``.
        run: runs further groups.
    """
    count = len(lead)
    parts, labels = list(parts), [group.label for group in groups]
    best = np.full(count, np.inf)
    owner = np.zeros(count, np.int64)
    tried = np.zeros(likely.shape, np.bool_)
    lead = lead.copy()
    again = np.zeros(count, np.bool_)
    _rate(parts, 0, likely, lead, names, surety, best, owner)
    tried[np.arange(count), np.maximum(lead, 0)] = True
    for _ in range(1, looks):
        left = np.where(tried, 0.0, likely)
        other = left.argmax(1)
        rows = np.flatnonzero(left.max(1) > best)
        if not len(rows):
            break
        hard = one_task_each(other[rows], len(names))
        further = [
            Group(rows[group.rows], group.tasks, group.heads)
            for group in groups_of(hard, other[rows], names, None)
        ]
        done = run(further)
        tried[rows, other[rows]] = again[rows] = True
        score, place = np.full(count, -np.inf), owner.copy()
        _rate(done, len(parts), likely, other, names, surety, score, place)
        better = rows[score[rows] > best[rows]]
        best[better], owner[better], lead[better] = score[better], place[better], other[better]
        parts += done
        labels += [group.label for group in further]
    kept = [(number, owner[rows] == number) for number, (rows, _) in enumerate(parts)]
    return Looked(
        [some_of(parts[number], mask) for number, mask in kept if mask.any()],
        [labels[number] for number, mask in kept if mask.any()],
        lead,
        len(parts),
        int(again.sum()),
    )


def _rate(
    parts: Sequence[Part],
    first: int,
    likely: NDArray[np.float64],
    lead: NDArray[np.int64],
    names: Sequence[str],
    surety: Surety,
    score: NDArray[np.float64],
    owner: NDArray[np.int64],
) -> None:
    """Note p·s of every example of some parts, and the part's number; the base's keep infinity."""
    for number, (rows, output) in enumerate(parts, start=first):
        owner[rows] = number
        task = int(lead[rows[0]])
        if task >= 0:
            sure = torch.as_tensor(surety(output, names[task])).detach().double().cpu().numpy()
            if sure.shape != rows.shape or not np.isfinite(sure).all():
                raise UsageError(
                    f"surety= gave {list(sure.shape)} numbers for {len(rows)} examples of "
                    f"{names[task]!r}, or NaN: it returns one number in 0..1 an example"
                )
            score[rows] = likely[rows, task] * sure
