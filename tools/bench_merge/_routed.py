"""The task found: Auto-Switch, on a stream of inputs of all tasks in random order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

import tvbank
from tools.bench_merge._banks import stored_bytes
from tools.bench_merge._cost import passes
from tools.bench_merge._trial import Examples, Row, Scores, Trial
from tools.realtasks import Inputs
from tvbank import AutoSwitch, Bank, Router
from tvbank.routing import Cascade
from tvbank.routing._features import variously_pooled

_MIXED, _APART = 256, 32  # inputs a batch
_SEED = 0

_POOLINGS = ("auto", "summary")

#: Centres a task of routers other than [F] Eq. 5's.
_CENTRES = 20

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


def _joined(streams: Sequence[_Stream]) -> _Stream:
    x, y, owners = ([getattr(part, name) for part in streams] for name in ("x", "y", "owners"))
    return _Stream(np.concatenate(x), np.concatenate(y), np.concatenate(owners))


def _streams(examples: dict[str, Examples], apart: bool) -> list[_Stream]:
    """Batches in random order: of 32 inputs of one task, or of 256 of all."""
    chance = np.random.default_rng(_SEED)
    whole = [_Stream(e.x, e.y, np.full(len(e.y), name)) for name, e in examples.items()]
    size = _APART if apart else _MIXED
    batches: list[_Stream] = []
    for part in whole if apart else [_joined(whole)]:
        order = chance.permutation(len(part.y))
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            batches.append(_Stream(part.x[rows], part.y[rows], part.owners[rows]))
    return [batches[number] for number in chance.permutation(len(batches))]


@final
@dataclass(frozen=True)
class _Way:
    """A way to route.

    Attributes:
        method: its name in the table.
        router: of the bank, by name.
        mode: of ``AutoSwitch``.
        apart: whether every batch is of one task, as papers measure a data set at a time, and tells
            by all of its examples which; else batches mix all tasks.
    """

    method: str
    router: str
    mode: Literal["sample", "top1"] = "sample"
    apart: bool = False


_WAYS = (
    _Way("Auto-Switch", "plain"),
    _Way("Auto-Switch, learned metric", "learned"),
    _Way("Auto-Switch, learned metric, top 1", "learned", "top1"),
    _Way("Auto-Switch, learned metric, a task a batch", "learned", "top1", apart=True),
    _Way("Auto-Switch, discriminant, top 1", "discriminant", "top1"),
    _Way("Auto-Switch, discriminant, a task a batch", "discriminant", "top1", apart=True),
)


@final
@dataclass(frozen=True)
class Routers:
    """Routers by name, where their features come from, and those of examples for choosing."""

    routers: Mapping[str, Router]
    places: Mapping[str, str]
    held: Mapping[str, dict[str, NDArray[Any]]]


def rows(trial: Trial, bank: Bank, label: str, routers: Routers, timed: int) -> Iterator[Row]:
    """Auto-Switch as [F] Eq. 5 has it; with centres and the learned metric; with LDA alone.

    Args:
        trial: the fine-tunes.
        bank: of all tasks.
        label: of the bank, behind the method's name.
        routers: to be put into the bank.
        timed: batches of each kind to time.
    """
    for name, router in routers.routers.items():
        bank.add_router(name, router, replace=True)
    opened = tvbank.open(bank.location)
    for way in _WAYS:
        router: str | Cascade = way.router
        if way.apart:  # how far to trust a router is found on examples that it was not fitted to
            router = Cascade.calibrate([opened.router(way.router)], [routers.held[way.router]])
        row = _row(trial, opened, way, router, routers.places[way.router], timed)
        yield replace(row, method=row.method.replace("Auto-Switch", f"Auto-Switch{label}"))


def routers_of(trial: Trial, say: Say) -> Routers:
    """[F] Eq. 5 at the last layer; and, where LDA routes best, with the learned metric and LDA.

    "Best" is of places and poolings: most examples for choosing go to their task.
    """
    fitted, seen = _by_place(trial, trial.routing), _by_place(trial, trial.choosing)
    best, most = ("", ""), 0.0
    for place in _candidates(trial):
        router = Router.fit(_features(fitted, *place), reject=None, seed=_SEED)
        share = _routed_right(router, _features(seen, *place))
        say(f"discriminant, {_named(*place)}: {share:.4f}")
        if share > most:
            best, most = place, share
    at, pooling = best[0].split("+"), best[1]
    features = _features(fitted, *best)
    given: dict[str, Any] = {"reject": None, "seed": _SEED, "at": at, "pooling": pooling}
    routers = {
        "plain": Router.fit(
            _features(fitted, BEFORE, "auto"), metric="euclidean", reject=None, seed=_SEED
        ),
        "learned": Router.fit(features, metric="learned", centres=_CENTRES, rank=32, **given),
        "discriminant": Router.fit(features, centres=_CENTRES, **given),
    }
    for name in ("learned", "discriminant"):
        say(f"{name}: {_routed_right(routers[name], _features(seen, *best)):.4f}")
    name = _named(*best)
    places = {"plain": "before the head", "learned": name, "discriminant": name}
    held = {each: _features(seen, *best) for each in ("learned", "discriminant")}
    return Routers(routers, places, held)


def _named(place: str, pooling: str) -> str:
    return place if pooling == "auto" else f"{place} ({pooling})"


def _candidates(trial: Trial) -> list[tuple[str, str]]:
    """Each place alone, either way pooled; and summaries of each with two before it."""
    places = PLACES[trial.family.name]
    alone = [(place, pooling) for place in places for pooling in _POOLINGS]
    joined = [(places[0], places[last // 2], places[last]) for last in range(2, len(places))]
    return [*alone, *(("+".join(group), "summary") for group in joined)]


def _routed_right(router: Router, features: dict[str, NDArray[Any]]) -> float:
    """Share of examples that go to their own task."""
    right = [router.top(some) == router.tasks.index(name) for name, some in features.items()]
    return float(np.concatenate(right).mean())


#: (place, pooling) -> task -> features [n, width].
Taken = dict[tuple[str, str], dict[str, NDArray[Any]]]


def _by_place(trial: Trial, examples: Mapping[str, NDArray[Any]]) -> Taken:
    """Features of the base at every place, pooled either way, all out of one pass."""
    model, places = trial.family.model(), (*PLACES[trial.family.name], BEFORE)
    found: Taken = {(place, pooling): {} for place in places for pooling in _POOLINGS}
    for name, x in examples.items():
        inputs = trial.family.inputs(x)
        pooled = variously_pooled(model, inputs, places, _forward(trial), None, _POOLINGS, 64)
        for pooling, parts in zip(_POOLINGS, pooled, strict=True):
            for place, part in zip(places, parts, strict=True):
                found[place, pooling][name] = part
    return found


def _features(taken: Taken, place: str, pooling: str) -> dict[str, NDArray[Any]]:
    """Features of every task at one place, or at several joined by ``+``."""
    parts = [taken[each, pooling] for each in place.split("+")]
    return {name: np.concatenate([part[name] for part in parts], 1) for name in parts[0]}


def _forward(trial: Trial) -> Callable[[torch.nn.Module, Any], Any]:
    def forward(model: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        return trial.family.pooled(model, inputs)

    return forward


def _row(trial: Trial, bank: Bank, way: _Way, router: str | Cascade, place: str, timed: int) -> Row:
    model = trial.family.model()
    streams = _streams(dict(trial.tests), way.apart)
    stream = _joined(streams)
    found: list[str] = []
    outputs: list[torch.Tensor] = []
    with AutoSwitch(
        model, bank, router, way.mode, forward=_forward(trial),
        trim=_TRIMMED[trial.family.name], pool=way.apart,
    ) as auto:  # fmt: skip
        for batch in streams:
            outputs.append(auto(trial.family.inputs(batch.x)))
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
        way.method, place,
        scores=_by_task(trial, stream, own & right),
        stored=stored_bytes(bank) + bank.stored_router(way.router).stored_bytes,
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
