"""Routing accuracy and rejection on real tasks; a part of ``routing.py``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench import realtasks
from tools.bench._measure import timed
from tvbank.routing import Router, fit
from tvbank.routing._examples import gather, rounded
from tvbank.routing._features import variously_pooled
from tvbank.routing._forward import run_model
from tvbank.routing._layers import candidate_layers
from tvbank.routing._metric import FitOptions
from tvbank.routing._neighbours import Neighbourhood

EXAMPLES, TESTS, REJECT = 100, 600, 0.02

POOLINGS = ("auto", "summary")

#: Features of one layer: task -> examples to choose from, and tests.
Layer = dict[str, tuple[np.ndarray, np.ndarray]]

#: Pooling -> name of a layer -> its features.
Taps = dict[str, dict[str, Layer]]


def real(
    folder: Path, family: str, only: Sequence[str] | None, seeds: int, learned: bool
) -> dict[str, Any]:
    """Shares, means over tasks and seeds.

    ``by_layer``: right tasks without rejection; ``chosen``: what ``routing.fit`` takes;
    ``rejection``: inputs of the task left out that are rejected, and of the others that are, at the
    chosen layer.
    """
    found = realtasks.load(folder, family, tuned=False)
    names = list(only or found.tasks)
    model = found.model()
    rng = np.random.default_rng(0)
    first = found.inputs(found.tasks[names[0]].x_train[:2])
    layers = [layer.name for layer in candidate_layers(model, first, run_model)]
    taps: Taps = {pooling: {layer: {} for layer in layers} for pooling in POOLINGS}
    for name in names:
        task = found.tasks[name]
        pools = [_some(task.x_train, 300, rng), _some(task.x_test, TESTS, rng)]
        rows = [
            variously_pooled(model, found.inputs(x), layers, None, None, POOLINGS, 64)
            for x in pools
        ]
        for pooling, fitted, tested in zip(POOLINGS, *rows, strict=True):
            for layer, *both in zip(layers, fitted, tested, strict=True):
                taps[pooling][layer][name] = both[0], both[1]
        print(f"features of {name}", file=sys.stderr)
    layers = [each for each in layers if _varies(taps["auto"][each])]
    metrics: dict[str, dict[str, Any]] = {
        "euclidean": {"metric": "euclidean"}, "discriminant": {}, "centres": {"centres": 20},
    }  # fmt: skip
    if learned:
        metrics["learned"] = {"metric": "learned", "centres": 20, "rank": 32}
        metrics["paper"] = {"metric": "paper", "centres": 20}
    by_layer = []
    for layer, pooling in [(layer, pooling) for layer in layers for pooling in POOLINGS]:
        row: dict[str, Any] = {"layer": layer or "(last)", "pooling": pooling}
        for metric, options in metrics.items():
            shares = [_right(taps[pooling][layer], seed, options) for seed in range(seeds)]
            row |= {metric: float(np.mean(shares)), f"{metric}_sd": float(np.std(shares))}
        by_layer.append(row)
        print(row, file=sys.stderr)
    chosen = [_chosen(found, model, names, taps, seed) for seed in range(seeds)]
    return {
        "tasks": ", ".join(names), "by_layer": by_layer, "chosen": chosen,
        "rejection": [
            _left_out(taps[chosen[0]["pooling"]], chosen[0]["at"], name, seeds) for name in names
        ],
    }  # fmt: skip


def _varies(layer: Layer) -> bool:
    """Whether a place tells examples apart at all; embeddings of token types do not."""
    return any(bool(np.ptp(rounded(rows), axis=0).any()) for rows, _ in layer.values())


def _some(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rows[np.sort(rng.permutation(len(rows))[:count])]


def _picked(layer: Layer, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: pool[rng.permutation(len(pool))[:EXAMPLES]] for n, (pool, _) in layer.items()}


def _right(layer: Layer, seed: int, options: dict[str, Any]) -> float:
    fitting = FitOptions.of(seed=seed, **options)
    near = Neighbourhood(*fitting.build(gather(_picked(layer, seed))))
    found = [near.of(rows, fitting.neighbours).top for _, rows in layer.values()]
    return float(np.mean([(top == k).mean() for k, top in enumerate(found)]))


def _joined(taps: Mapping[str, Layer], at: Sequence[str]) -> Layer:
    names = next(iter(taps.values()))
    parts = {name: [taps[place][name] for place in at] for name in names}
    return {
        name: (np.concatenate([a for a, _ in each], 1), np.concatenate([b for _, b in each], 1))
        for name, each in parts.items()
    }


def _chosen(found: Any, model: Any, names: list[str], taps: Taps, seed: int) -> dict[str, Any]:
    """What ``fit`` chooses, and how it does on tests."""
    rng = np.random.default_rng(seed)
    inputs = {n: found.inputs(_some(found.tasks[n].x_train, EXAMPLES, rng)) for n in names}
    seconds, fitted = timed(lambda: fit(model, inputs, seed=seed, reject=REJECT))
    tests = _joined(taps[fitted.chosen.pooling], fitted.chosen.at)
    plain = fitted.router
    tops = [plain.top(rows) for _, rows in tests.values()]
    shares = [(plain._look(rows).top == k).mean() for k, (_, rows) in enumerate(tests.values())]
    return {
        "seed": seed, "at": list(fitted.chosen.at), "pooling": fitted.chosen.pooling,
        "cost": fitted.chosen.cost, "seconds": seconds,
        "held_out": fitted.chosen.accuracy, "surprise": fitted.chosen.surprise,
        "right": float(np.mean(shares)),
        "rejected": float(np.mean([(top < 0).mean() for top in tops])),
    }  # fmt: skip


def _left_out(
    taps: Mapping[str, Layer], at: Sequence[str], name: str, seeds: int
) -> dict[str, Any]:
    """Rejected inputs of a task that the router does not know, and of those it does."""
    unseen, known = [], []
    for seed in range(seeds):
        layer = _joined(taps, at)
        _, strange = layer.pop(name)
        router = Router.fit(_picked(layer, seed), reject=REJECT, seed=seed)
        unseen.append((router.top(strange) < 0).mean())
        known.append(np.mean([(router.top(rows) < 0).mean() for _, rows in layer.values()]))
    return {"unseen": name, "rejected": float(np.mean(unseen)), "false": float(np.mean(known))}
