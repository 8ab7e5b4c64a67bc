"""Routing the examples of one call, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.autoswitch._batch import Batch, Forward, without_padding
from tvbank.autoswitch._routing import Routing
from tvbank.routing import features
from tvbank.routing.cascade import Cascade, Stage, pooled
from tvbank.routing.router import NO_TASK


@final
@dataclass(frozen=True)
class Decision:
    """What a cascade says of the examples of a call.

    Attributes:
        weights: float64 [n, K]; what a row lacks to one is the base's.
        top: int64 [n], the task on top, ``NO_TASK`` for the base.
        confidence: float64 [n].
        stages: int64 [n], which stage decided.
    """

    weights: NDArray[np.float64]
    top: NDArray[np.int64]
    confidence: NDArray[np.float64]
    stages: NDArray[np.int64]


@final
@dataclass(frozen=True)
class Tapping:
    """How the model is called for features.

    Attributes:
        forward: as ``AutoSwitch`` has it.
        trim: the name of the mask of padding, if columns of padding may be cut off.
        recording: what is entered around each pass, with its examples and the modules tapped.
    """

    forward: Forward
    trim: str | None
    recording: Callable[[NDArray[np.int64], Sequence[str]], AbstractContextManager[None]]


def decide(
    model: torch.nn.Module, cascade: Cascade, batch: Batch, tapping: Tapping, pool: bool
) -> Decision:
    """Ask the stages of a cascade, each about what those before it were not sure of.

    Args:
        model: with the base's weights.
        cascade: any.
        batch: the examples.
        tapping: how to get features.
        pool: whether the whole batch tells which tasks are in it, see ``pooled``.

    Raises:
        UsageError, NonFiniteError: features that the routers cannot take.
    """
    size, width = batch.size, len(cascade.tasks)
    weights, likely = np.zeros((size, width)), np.zeros((size, width))
    top, confidence = np.full(size, NO_TASK), np.zeros(size)
    stages = np.zeros(size, np.int64)
    left = np.arange(size)
    for number, stage in enumerate(cascade.stages):
        with tapping.recording(left, stage.router.recipe.at):
            found = _features(model, stage, batch, left, tapping)
        verdict = stage.judge(found)
        weights[left], top[left], likely[left] = verdict.weights, verdict.top, verdict.posterior
        confidence[left], stages[left] = verdict.confidence, number
        if pool:
            _pool(weights, top, likely, confidence)
        if number == len(cascade.stages) - 1:
            break
        left = left[confidence[left] < stage.threshold]
        if not len(left):
            break
    return Decision(weights, top, confidence, stages)


def routing_of(
    decision: Decision,
    names: Sequence[str],
    weights: NDArray[np.float64],
    top: NDArray[np.int64],
    runs: int,
    reused: int,
) -> Routing:
    """The report of a call, once it is known what each example ran under."""
    tasks = tuple(None if number < 0 else names[number] for number in top.tolist())
    return Routing(tuple(names), weights, tasks, decision.confidence, decision.stages, runs, reused)


def _features(
    model: torch.nn.Module, stage: Stage, batch: Batch, rows: NDArray[np.int64], tapping: Tapping
) -> NDArray[np.float32]:
    """Features of some examples; what is no tensor goes along with every pass."""
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

    return features(model, tensors, stage.router.recipe, forward=call, batch=len(rows))


def _pool(
    weights: NDArray[np.float64],
    top: NDArray[np.int64],
    likely: NDArray[np.float64],
    confidence: NDArray[np.float64],
) -> None:
    """Give every example that is of a known task wholly to the task that the batch speaks for."""
    known = np.flatnonzero(top != NO_TASK)
    refined = pooled(likely)[known]
    best = refined.argmax(1)
    weights[known] = 0
    weights[known, best] = 1
    top[known], confidence[known] = best, refined.max(1)
