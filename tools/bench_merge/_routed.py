"""The task found: Auto-Switch, on a stream of inputs of all tasks in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

import tvbank
from tools.bench_merge._banks import stored_bytes
from tools.bench_merge._cost import passes
from tools.bench_merge._trial import Examples, Row, Scores, Trial
from tools.realtasks import Inputs
from tvbank import AutoSwitch, Bank, Router, routing

_BATCH = 256
_SEED = 0

#: What enters the head.
BEFORE = ""
#: Where features may come from, shallow first; all of one width.
PLACES = {
    "minilm": ("embeddings", *(f"encoder.layer.{layer}" for layer in range(6))),
    "vit": ("patch", *(f"blocks.{layer}" for layer in range(6))),
}
_TRIMMED = {"minilm": "input_ids", "vit": None}

Say = Callable[[str], None]


@final
@dataclass(frozen=True)
class _Stream:
    """Inputs of all tasks, shuffled.

    Attributes:
        x: what the model takes.
        y: labels.
        owners: the task of each.
    """

    x: NDArray[Any]
    y: NDArray[Any]
    owners: NDArray[np.str_]


def _stream(examples: dict[str, Examples]) -> _Stream:
    order = np.random.default_rng(_SEED).permutation(sum(len(some.y) for some in examples.values()))
    owners = np.concatenate([np.full(len(some.y), name) for name, some in examples.items()])
    x = np.concatenate([some.x for some in examples.values()])
    y = np.concatenate([some.y for some in examples.values()])
    return _Stream(x[order], y[order], owners[order])


def rows(trial: Trial, bank: Bank, timed: int, say: Say) -> Iterator[Row]:
    """Auto-Switch as [F] Eq. 5 has it, then with centres, the learned metric and a chosen layer."""
    features = _by_place(trial, trial.routing)
    plain = Router.fit(features[BEFORE], neighbours=10, metric="euclidean", reject=None, seed=_SEED)
    yield _row(trial, bank, "Auto-Switch", "before the head", plain, timed)
    seen = _by_place(trial, {name: some.x for name, some in trial.tuning.items()})
    routers = {
        place: Router.fit(
            found, neighbours=10, centres=20, rank=32, metric="learned", reject=None, seed=_SEED,
            at=place,
        )
        for place, found in features.items()
        if place != BEFORE
    }  # fmt: skip
    right = {place: _routed_right(router, seen[place]) for place, router in routers.items()}
    say(", ".join(f"{place}: {share:.4f}" for place, share in right.items()))
    place = max(right, key=lambda place: right[place])  # of equal ones the first
    yield _row(trial, bank, "Auto-Switch, learned metric", f"at {place}", routers[place], timed)


def _routed_right(router: Router, features: dict[str, NDArray[Any]]) -> float:
    """Share of examples that go to their own task."""
    right = [router.top(some) == router.tasks.index(name) for name, some in features.items()]
    return float(np.concatenate(right).mean())


def _by_place(
    trial: Trial, examples: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, NDArray[Any]]]:
    """Place -> task -> features [n, width] of the base, all out of one pass."""
    model, places = trial.family.model(), (*PLACES[trial.family.name], BEFORE)
    found: dict[str, dict[str, NDArray[Any]]] = {place: {} for place in places}
    for name, x in examples.items():
        together = routing.features(
            model, trial.family.inputs(x), at=places, forward=_forward(trial)
        )
        for place, part in zip(places, np.split(together, len(places), axis=1), strict=True):
            found[place][name] = np.ascontiguousarray(part)
    return found


def _forward(trial: Trial) -> Callable[[torch.nn.Module, Any], Any]:
    def forward(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        return trial.family.pooled(model, inputs)

    return forward


def _row(trial: Trial, bank: Bank, method: str, setting: str, router: Router, timed: int) -> Row:
    opened = tvbank.open(bank.location)
    model, stream = trial.family.model(), _stream(dict(trial.tests))
    found: list[str] = []
    outputs: list[torch.Tensor] = []
    with AutoSwitch(
        model, opened, router, forward=_forward(trial), trim=_TRIMMED[trial.family.name]
    ) as auto:
        for first in range(0, len(stream.y), _BATCH):
            outputs.append(auto(trial.family.inputs(stream.x[first : first + _BATCH])))
            assert auto.last is not None
            found += [task or "(base)" for task in auto.last.tasks]
        ratios = passes(trial, auto, timed)
    features, leads = torch.cat(outputs), np.array(found)
    own, right = _answers(trial, stream, features), leads == stream.owners
    confusion = {
        task: {lead: int(((stream.owners == task) & (leads == lead)).sum()) for lead in set(found)}
        for task in trial.tasks
    }
    return Row(
        method, setting,
        scores=_by_task(trial, stream, own & right),
        stored=stored_bytes(bank) + _size(router),
        passes=ratios,
        routed=float(right.mean()),
        own_head=_by_task(trial, stream, own),
        confusion=confusion,
    )  # fmt: skip


def _answers(trial: Trial, stream: _Stream, features: torch.Tensor) -> NDArray[np.bool_]:
    """Whether each input's own task's head gives its label."""
    right = np.zeros(len(stream.y), bool)
    for name, task in trial.tasks.items():
        rows = np.flatnonzero(stream.owners == name)
        logits = features[torch.from_numpy(rows)] @ task.head_weight.T + task.head_bias
        right[rows] = logits.argmax(1).numpy() == stream.y[rows]
    return right


def _by_task(trial: Trial, stream: _Stream, right: NDArray[np.bool_]) -> Scores:
    return {name: float(right[stream.owners == name].mean()) for name in trial.tasks}


def _size(router: Router) -> int:
    """Bytes of a router's arrays."""
    metric = () if router.metric is None else (router.metric.centre, router.metric.matrix)
    return sum(array.nbytes for array in (router.keys, router.owners, *metric))
