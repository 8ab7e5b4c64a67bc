"""``fit``: a router from inputs, the layer chosen on examples that were held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing._examples import Examples, gather
from tvbank.routing._features import Mask, tapped_features
from tvbank.routing._inputs import Forward, Inputs, batches, checked_inputs, count, run_model, take
from tvbank.routing._layers import candidate_layers
from tvbank.routing._method import Method
from tvbank.routing._neighbourhood import Neighbourhood
from tvbank.routing._rejection import FOLDS, folded
from tvbank.routing.recipe import BEFORE_CLASSIFIER
from tvbank.routing.router import Router

#: So many layers are tried together, every other one, if the last is so near to the best alone.
_JOINED, _APART, _PROMISING = 3, 2, 0.02

#: Widest features that are tried together; LDA takes the cube of this.
_WIDEST = 2048


@final
@dataclass(frozen=True)
class LayerScore:
    """How well routing works from one place, or from several together.

    Attributes:
        at: names of modules, see ``Recipe``.
        accuracy: share of held-out examples that go to their task, the mean over the tasks, 0..1.
        cost: share of a forward pass's multiplications that it takes to get there, 0..1.
        width: features an example.
    """

    at: tuple[str, ...]
    accuracy: float
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
    tolerance: float = 0.005,
    forward: Forward | None = None,
    mask: Mapping[str, Mask] | None = None,
    pooling: str = "auto",
    batch: int = 64,
    **options: Any,
) -> Fitted:
    """Fit a router to inputs of each task, choosing the layer by five-fold cross-validation.

    One pass over the inputs takes the features of all candidates. Of those within ``tolerance`` of
    the best the one that costs least is taken.

    Args:
        model: with the base's weights.
        inputs: task -> examples, a tensor or a dict of tensors along dimension 0; labels are not
            needed, a hundred examples are plenty.
        layers: candidates: names of modules, or several names to be concatenated; by default the
            blocks of the model, what comes before them, the place before the classifier, and
            three of these together, which costs no more than the deepest of them.
        tolerance: share of held-out examples that a cheaper layer may lose against the best.
        forward: see ``features``.
        mask: task -> mask, see ``features``.
        pooling: see ``features``.
        batch: examples a pass.
        options: of ``Router.fit``: neighbours, metric, centres, rank, reject, seed.

    Raises:
        UsageError, NonFiniteError: see ``features`` and ``Router.fit``.
    """
    if not tolerance >= 0:
        raise UsageError(f"tolerance= is 0 or more, got {tolerance}")
    if not isinstance(inputs, Mapping) or not inputs:
        raise UsageError("a router is fitted to inputs of tasks: {task: inputs}")
    run = forward or run_model
    alone, costs = _candidates(model, inputs, layers, run)
    names = list(dict.fromkeys(name for group in alone for name in group))
    found = {
        task: tapped_features(model, given, names, run, (mask or {}).get(task), pooling, batch)
        for task, given in inputs.items()
    }

    def at(group: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
        picked = [names.index(name) for name in group]
        return {task: np.concatenate([rows[i] for i in picked], 1) for task, rows in found.items()}

    def score(group: tuple[str, ...]) -> LayerScore:
        features = at(group)
        width = next(iter(features.values())).shape[1]
        cost = max(costs[name] for name in group)
        return LayerScore(group, cross_validated(features, **options), cost, width)

    scores = [score(group) for group in alone]
    if layers is None:
        scores += [score(group) for group in _joined(scores)]
    scores.sort(key=lambda each: (each.cost, len(each.at)))
    best = max(each.accuracy for each in scores)
    chosen = next(each for each in scores if each.accuracy >= best - tolerance)
    router = Router.fit(at(chosen.at), at=chosen.at, pooling=pooling, **options)
    return Fitted(router, chosen, tuple(scores))


def cross_validated(features: Mapping[str, Any], **options: Any) -> float:
    """Share of examples that a router fitted to four fifths of the others gives to their task.

    Args:
        features: task -> [n_k, d].
        options: of ``Router.fit``.

    Returns:
        The mean over the tasks, 0..1; NaN if no example can be held out.
    """
    examples = gather(features)
    method = Method.asked(**options)
    folds = folded(examples, method.seed)
    right = np.zeros(len(folds), np.bool_)
    for fold in range(FOLDS):
        held, kept = folds == fold, folds != fold
        if not held.any():
            continue
        rest = Examples(examples.tasks, examples.points[kept], examples.owners[kept])
        near = Neighbourhood(*method.build(rest), len(examples.tasks))
        right[held] = near.of(examples.points[held], method.neighbours).top == examples.owners[held]
    tried = folds >= 0
    return _mean_over_tasks(right[tried], examples.owners[tried])


def _mean_over_tasks(right: NDArray[np.bool_], owners: NDArray[np.int32]) -> float:
    counts = np.bincount(owners)
    shares = np.bincount(owners, right)[counts > 0] / counts[counts > 0]
    return float(shares.mean()) if len(shares) else float("nan")


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
    device = next((each.device for each in model.parameters()), None)
    _, few = next(batches(take(first, slice(0, 2)), 2, device))
    known = candidate_layers(model, few, forward)
    costs = {layer.name: layer.cost for layer in known}
    if layers is not None:
        groups = [(each,) if isinstance(each, str) else tuple(each) for each in layers]
        if not groups:
            raise UsageError("layers= is empty: name at least one candidate")
        return groups, {name: costs.get(name, 1.0) for group in groups for name in group}
    return [(layer.name,) for layer in known], costs


def _joined(alone: Sequence[LayerScore]) -> list[tuple[str, ...]]:
    """Each good layer with some before it, as far as that is not too wide."""
    inner = [each for each in alone if each.at != (BEFORE_CLASSIFIER,)]
    good = max(each.accuracy for each in alone) - _PROMISING
    groups = []
    for start in range(len(inner) - (_JOINED - 1) * _APART):
        group = inner[start : start + (_JOINED - 1) * _APART + 1 : _APART]
        if group[-1].accuracy >= good and sum(each.width for each in group) <= _WIDEST:
            groups.append(tuple(each.at[0] for each in group))
    return groups
