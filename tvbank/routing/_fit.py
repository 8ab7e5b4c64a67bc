"""``fit``: a router from inputs, the layer chosen on examples that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing._examples import evenly, gather
from tvbank.routing._features import Mask, variously_pooled
from tvbank.routing._forward import (
    Forward,
    Inputs,
    batches,
    checked_inputs,
    count,
    run_model,
    take,
)
from tvbank.routing._held_out import hold_out, spread_of, surprise
from tvbank.routing._layers import candidate_layers
from tvbank.routing._metric import FitOptions
from tvbank.routing.recipe import names_of
from tvbank.routing.router import Router

#: A layer is tried together with those before it, at most this many of them in all.
_JOINED = 8

#: Places are chosen by at most so many examples, as many of each task: the time of LDA grows with
#: the cube of the smaller of features and examples. Tasks keep ten examples at least, and where
#: these are more, layers that together have more features are not tried together.
_LARGEST, _FEWEST = 3000, 10

#: Features wider than this are kept as this many centres a task, unless the caller says otherwise.
_COMPACT_FROM, _CENTRES = 2048, 10

#: Poolings tried by default: the mean alone, and the mean with more.
_POOLINGS = ("auto", "summary")

Features = dict[str, NDArray[np.float32]]


@final
@dataclass(frozen=True)
class LayerScore:
    """How well routing works from one place, or from several together.

    Attributes:
        at: names of modules, see ``Recipe``.
        pooling: how what they return is pooled, see ``Recipe``.
        accuracy: share of held-out examples that go to their task, the mean over the tasks, 0..1.
        surprise: -log of how likely held-out examples are of their task, in nats, the mean over
            the tasks. Smoother than accuracy, which a few examples decide.
        cost: share of a forward pass's multiplications that it takes to get there, 0..1.
        width: features an example.
    """

    at: tuple[str, ...]
    pooling: str
    accuracy: float
    surprise: float
    cost: float
    width: int


@final
@dataclass(frozen=True)
class Fitted:
    """A router, and what it was chosen from.

    Attributes:
        router: fitted to all examples; its ``recipe`` says where it taps.
        chosen: how well it did on held-out examples.
        layers: all that was tried, cheapest first.
    """

    router: Router
    chosen: LayerScore
    layers: tuple[LayerScore, ...]


def fit(
    model: nn.Module,
    inputs: Mapping[str, Inputs],
    *,
    layers: Sequence[str | Sequence[str]] | None = None,
    tolerance: float = 0.002,
    forward: Forward | None = None,
    mask: Mapping[str, Mask] | None = None,
    pooling: str | None = None,
    batch: int = 64,
    **options: Any,
) -> Fitted:
    """Fit a router to inputs of each task, choosing the layer by five-fold cross-validation.

    One pass over the inputs takes the features of all candidates. Of those under which held-out
    examples are the least surprising, within ``tolerance``, the one that costs least is taken. It
    is chosen by 3,000 examples at most, and fitted to all.

    Args:
        model: with the base's weights.
        inputs: task -> examples, a tensor or a dict of tensors along dimension 0; labels are not
            needed, a hundred examples are plenty.
        layers: candidates: names of modules, or several names to be concatenated; by default the
            blocks of the model, what comes before them, the place before the classifier, and
            each of these together with those before it, which costs no more.
        tolerance: nats of surprise by which a cheaper layer may be worse than the best.
        forward: see ``features``.
        mask: task -> mask, see ``features``.
        pooling: see ``features``; by default both ``"auto"`` and ``"summary"`` are tried.
        batch: examples a pass.
        options: of ``Router.fit``: neighbours, metric, centres, rank, reject, seed. Features of
            more than 2,048 numbers are by default kept as ten centres a task, where scikit-learn is
            installed: the examples would take more bytes than the tasks do.

    Raises:
        UsageError: no task has two examples, so that none can be held out.
        UsageError, NonFiniteError: see ``features`` and ``Router.fit``.
    """
    if not tolerance >= 0:
        raise UsageError(f"tolerance= is 0 or more, got {tolerance}")
    if not isinstance(inputs, Mapping) or not inputs:
        raise UsageError("a router is fitted to inputs of tasks: {task: inputs}")
    run = forward or run_model
    alone, costs = _candidates(model, inputs, layers, run)
    names = list(dict.fromkeys(name for group in alone for name in group))
    poolings = _POOLINGS if pooling is None else (pooling,)
    taken = {
        task: variously_pooled(model, given, names, run, (mask or {}).get(task), poolings, batch)
        for task, given in inputs.items()
    }
    widths = [[rows.shape[1] for rows in some] for some in next(iter(taken.values()))]
    if len(poolings) > 1 and widths[0] == widths[-1]:  # one row an example, whatever the pooling
        poolings = poolings[:1]

    def at(group: tuple[str, ...], way: str, some: Mapping[str, Any]) -> Features:
        picked, number = [names.index(name) for name in group], poolings.index(way)
        return {
            task: np.concatenate([rows[number][i][some[task]] for i in picked], 1)
            for task, rows in taken.items()
        }

    counts = {task: len(rows[0][0]) for task, rows in taken.items()}
    most = max(_LARGEST, _FEWEST * len(counts))
    chosen_by = {task: evenly(total, most // len(counts)) for task, total in counts.items()}

    def score(group: tuple[str, ...], way: str) -> LayerScore:
        features = at(group, way, chosen_by)
        width = next(iter(features.values())).shape[1]
        cost = max(costs[name] for name in group)
        return LayerScore(group, way, *cross_validated(features, **options), cost, width)

    scores = [score(group, way) for group in alone for way in poolings]
    if layers is None:
        examples = sum(map(len, chosen_by.values()))
        richest = [tried for tried in scores if tried.pooling == poolings[-1]]
        scores += [score(group, poolings[-1]) for group in _joined(richest, examples)]
    scores.sort(key=lambda tried: (tried.cost, tried.width))
    best = min(tried.surprise for tried in scores)
    chosen = next(tried for tried in scores if tried.surprise <= best + tolerance)
    few = options.get("neighbours", 10) <= _CENTRES * len(taken)
    if chosen.width > _COMPACT_FROM and few and find_spec("sklearn"):
        options = {"centres": _CENTRES, "metric": "discriminant", **options}
    features = at(chosen.at, chosen.pooling, dict.fromkeys(taken, slice(None)))
    router = Router.fit(features, at=chosen.at, pooling=chosen.pooling, **options)
    return Fitted(router, chosen, tuple(scores))


def cross_validated(features: Mapping[str, Any], **options: Any) -> tuple[float, float]:
    """How routers fitted to four fifths of the examples do on the others.

    Args:
        features: task -> [n_k, d].
        options: of ``Router.fit``.

    Returns:
        ``accuracy`` and ``surprise`` of a ``LayerScore``.

    Raises:
        UsageError: no task has two examples, or as ``Router.fit``.
    """
    held = hold_out(gather(features), FitOptions.of(**options))
    if held is None:
        raise UsageError("a layer is chosen on held-out examples: give two or more of a task")
    spread = spread_of(held, float(held.variance.mean()))
    accuracy = _mean_over_tasks(held.top == held.owners, held.owners)
    return accuracy, _mean_over_tasks(surprise(held, spread), held.owners)


def _mean_over_tasks(values: NDArray[Any], owners: NDArray[np.int64]) -> float:
    counts = np.bincount(owners)
    means = np.bincount(owners, values)[counts > 0] / counts[counts > 0]
    return float(means.mean())


def _candidates(
    model: nn.Module,
    inputs: Mapping[str, Inputs],
    layers: Sequence[str | Sequence[str]] | None,
    forward: Forward,
) -> tuple[list[tuple[str, ...]], dict[str, float]]:
    """Groups of names to try, and the cost of each name."""
    first = checked_inputs(next(iter(inputs.values())))
    if not count(first):
        raise UsageError(f"task {next(iter(inputs))!r} has no inputs")
    device = next((weights.device for weights in model.parameters()), None)
    _, few = next(batches(take(first, slice(0, 2)), 2, device))
    known = candidate_layers(model, few, forward)
    costs = {layer.name: layer.cost for layer in known}
    if layers is not None:
        groups = [names_of(at) for at in layers]
        if not groups:
            raise UsageError("layers= is empty: name at least one candidate")
        return groups, {name: costs.get(name, 1.0) for group in groups for name in group}
    return [(layer.name,) for layer in known], costs


def _joined(alone: Sequence[LayerScore], examples: int) -> list[tuple[str, ...]]:
    """Each layer with those before it, or some of them, unless LDA would take too long.

    Args:
        alone: layers in the order of a pass.
        examples: of all tasks.
    """
    # Of places with nothing to multiply between them only the last.
    after = [*alone[1:], None]
    places = [a for a, b in zip(alone, after, strict=True) if b is None or b.cost > a.cost]
    groups = []
    for last in range(1, len(places)):
        numbers = np.unique(np.linspace(0, last, _JOINED).astype(int))
        group = [places[number] for number in numbers.tolist()]
        if min(sum(place.width for place in group), examples) <= _LARGEST:
            groups.append(tuple(place.at[0] for place in group))
    return groups
