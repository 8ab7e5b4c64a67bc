"""Routing: the cascade that a router stands for, its decision on a batch, and the report of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.autoswitch._batch import Batch, Forward, without_padding
from tvbank.bank.bank import Bank
from tvbank.errors import TaskNotFoundError, UsageError, name_some
from tvbank.routing import VectorRouter, features
from tvbank.routing.cascade import Cascade, Stage, pooled
from tvbank.routing.router import NO_TASK, Router

#: A router, its name in the bank, a cascade, or several of the first two to be asked in turn.
RouterLike = Router | VectorRouter | str | Cascade | Sequence[Router | VectorRouter | str]

#: What the base is called where tasks are counted.
BASE = "(base)"


@final
@dataclass(frozen=True, eq=False)
class Routing:
    """Where the examples of one call went.

    Attributes:
        names: the router's tasks, the columns of ``weights``.
        weights: float64 [n, K], what each example ran under; the base has the rest of
            each row, to one.
        tasks: the task with the largest weight of each example, whose heads it ran with; ``None``
            for the base.
        confidence: float64 [n], the router's confidence in 0..1, see ``tvbank.routing.Cascade``.
        stages: int64 [n], which router of a cascade decided, 0 for the first.
        runs: how often the model was called for the outputs, each time with other weights.
        reused: calls of modules that were answered by what they returned when features were taken.
        again: examples that ran under more than one task, see ``looks`` of ``AutoSwitch``.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    tasks: tuple[str | None, ...]
    confidence: NDArray[np.float64]
    stages: NDArray[np.int64]
    runs: int
    reused: int = 0
    again: int = 0

    def counts(self) -> dict[str, int]:
        """How many examples went to each task, the most frequent first; ``(base)`` among them."""
        return dict(Counter(BASE if task is None else task for task in self.tasks).most_common())

    def __repr__(self) -> str:
        shown = ", ".join(f"{task}: {count}" for task, count in self.counts().items())
        return f"Routing({len(self.tasks)} examples in {self.runs} runs; {shown})"


@final
@dataclass(frozen=True)
class Decision:
    """What a cascade says of the examples of a call.

    Attributes:
        weights: float64 [n, K]; the base has the rest of each row, to one.
        top: int64 [n], the task on top, ``NO_TASK`` for the base.
        confidence: float64 [n].
        stages: int64 [n], which stage decided.
        likely: float64 [n, K], posteriors; zeros where the example was rejected.
    """

    weights: NDArray[np.float64]
    top: NDArray[np.int64]
    confidence: NDArray[np.float64]
    stages: NDArray[np.int64]
    likely: NDArray[np.float64]


@final
@dataclass(frozen=True)
class Tapping:
    """How the model is called for features.

    Attributes:
        forward: as ``AutoSwitch`` has it.
        trim: the name of the mask of padding, if columns of padding may be cut off.
        recording: a context that each pass runs in; it takes the examples and the modules tapped.
    """

    forward: Forward
    trim: str | None
    recording: Callable[[NDArray[np.int64], Sequence[str]], AbstractContextManager[None]]


def cascade_of(bank: Bank, router: RouterLike, pool: bool = False) -> Cascade:
    """The cascade that an argument stands for; the bank must have all its tasks.

    Args:
        bank: whose tasks it knows.
        router: as ``AutoSwitch`` takes it.
        pool: whether batches make examples surer of their task than they are alone.

    Raises:
        TaskNotFoundError: it knows tasks that the bank lacks; names them.
        UsageError: no routers, or something else.
    """
    cascade = router if isinstance(router, Cascade) else _cascade(_routers(bank, router), pool)
    missing = [name for name in cascade.tasks if name not in bank]
    if missing:
        raise TaskNotFoundError(
            f"the router knows tasks that {bank.location} lacks: {name_some(missing)}; add them, "
            "or fit a router to the tasks that the bank has"
        )
    return cascade


def _cascade(routers: Sequence[Router | VectorRouter], pool: bool) -> Cascade:
    """Calibrated on the examples that the routers keep, if they keep the same ones.

    Thresholds calibrated on single examples are too high for pooled ones, which keep the default.
    """
    fitted = [router for router in routers if isinstance(router, Router)]
    keep = not pool and len(fitted) == len(routers) > 1
    keep = keep and all(
        router.method.centres is None and np.array_equal(router.owners, fitted[0].owners)
        for router in fitted
    )
    if keep and np.bincount(fitted[0].owners).min() > 1:
        return Cascade.calibrate(fitted)
    return Cascade(routers)


def _routers(
    bank: Bank, router: Router | VectorRouter | str | Sequence[Router | VectorRouter | str]
) -> list[Router | VectorRouter]:
    several = isinstance(router, Sequence) and not isinstance(router, str)
    given: list[object] = list(router) if several else [router]  # type: ignore[arg-type]
    routers: list[Router | VectorRouter] = []
    for item in given:
        if isinstance(item, str):
            item = bank.router(item, partial=True)  # ``cascade_of`` names what all of them lack
        if not isinstance(item, Router | VectorRouter):
            raise UsageError(f"a router, its name in the bank, or a cascade, not {item!r}")
        routers.append(item)
    return routers


def decide(
    model: torch.nn.Module, cascade: Cascade, batch: Batch, tapping: Tapping, pool: bool
) -> Decision:
    """Ask the stages of a cascade, each about the examples that earlier ones were not sure of.

    Args:
        model: with the base's weights.
        cascade: any.
        batch: the examples.
        tapping: how to get features.
        pool: whether the batch is evidence of which tasks are in it, see ``pooled``.

    Raises:
        UsageError, NonFiniteError: features that the routers cannot take.
    """
    size, width = batch.size, len(cascade.tasks)
    weights, likely = np.zeros((size, width)), np.zeros((size, width))
    top, confidence = np.full(size, NO_TASK), np.zeros(size)
    stages = np.zeros(size, np.int64)
    left, said = np.arange(size), likely
    for number, stage in enumerate(cascade.stages):
        whole = isinstance(stage.router, VectorRouter)
        with tapping.recording(left, () if whole else stage.router.at):
            taps = _features(model, stage, batch, left, tapping)
        verdict = stage.judge(taps)
        weights[left], top[left], likely[left] = verdict.weights, verdict.top, verdict.posterior
        confidence[left], stages[left] = verdict.confidence, number
        said = _pool(weights, top, likely, confidence) if pool else likely
        if number == len(cascade.stages) - 1:
            break
        left = left[confidence[left] < stage.threshold]
        if not len(left):
            break
    return Decision(weights, top, confidence, stages, said)


def routing_of(
    decision: Decision,
    names: Sequence[str],
    weights: NDArray[np.float64],
    top: NDArray[np.int64],
    runs: int,
    reused: int,
    again: int = 0,
) -> Routing:
    """The report of a call, once it is known what each example ran under."""
    tasks = tuple(None if number < 0 else names[number] for number in top.tolist())
    sure, stages = decision.confidence, decision.stages
    return Routing(tuple(names), weights, tasks, sure, stages, runs, reused, again)


def _features(
    model: torch.nn.Module, stage: Stage, batch: Batch, rows: NDArray[np.int64], tapping: Tapping
) -> NDArray[np.float32]:
    """Features of some examples; inputs that are no tensors go along with every pass."""
    taken = batch.take(rows)
    if tapping.trim is not None:
        taken = without_padding(taken, tapping.trim)
    if not isinstance(taken, dict):
        call: Forward = tapping.forward
        tensors: Any = taken
    else:
        tensors = {name: value for name, value in taken.items() if isinstance(value, torch.Tensor)}
        others = {name: value for name, value in taken.items() if name not in tensors}

        def call(model: torch.nn.Module, part: Any) -> Any:
            return tapping.forward(model, {**part, **others})

    router = stage.router
    if isinstance(router, VectorRouter):
        return router.features(model, tensors, forward=call, batch=len(rows))
    return features(model, tensors, router.recipe, forward=call, batch=len(rows))


def _pool(
    weights: NDArray[np.float64],
    top: NDArray[np.int64],
    likely: NDArray[np.float64],
    confidence: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Give every example that is of a known task wholly to the task that the batch speaks for.

    Returns the posteriors given the batch, [n, K]; ``likely`` stays what each example says alone.
    """
    known = np.flatnonzero(top != NO_TASK)
    shares = pooled(likely)
    refined = shares[known]
    best = refined.argmax(1)
    weights[known] = 0
    weights[known, best] = 1
    top[known], confidence[known] = best, refined.max(1)
    return shares
