"""Inputs of no known task: farther from their neighbours than examples of known tasks are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._discriminant import discriminant
from tvbank.routing._examples import Examples, Floats
from tvbank.routing._search import nearest

if TYPE_CHECKING:
    from tvbank.routing.router import Router

FOLDS = 5


def typical_distance(distances: Floats) -> NDArray[np.float64]:
    """The mean distance to the neighbours, [n, C] -> [n]."""
    mean: NDArray[np.float64] = distances.mean(1, dtype=np.float64)
    return mean


def calibrate(examples: Examples, router: Router, rate: float, seed: int) -> float:
    """The threshold that rejects a share of held-out examples of known tasks.

    Args:
        examples: of all tasks.
        router: fitted to all of them, without a threshold.
        rate: share of inputs of known tasks that may be rejected.
        seed: of the folds.
    """
    folds = folded(examples, seed)
    scores = []
    for fold in range(FOLDS):
        held, kept = folds == fold, folds != fold
        if not held.any():
            continue
        rest = Examples(examples.tasks, examples.points[kept], examples.owners[kept])
        queries, keys = examples.points[held], rest.points
        if router.metric is not None:
            metric = discriminant(rest)
            queries, keys = metric.project(queries), metric.project(keys)
        distances, _ = nearest(queries, keys, min(router.neighbours, len(keys)))
        scores.append(typical_distance(distances))
    found = np.sort(np.concatenate(scores)) if scores else np.array([np.inf])
    return float(found[min(len(found) - 1, math.ceil((len(found) + 1) * (1 - rate)) - 1)])


def folded(examples: Examples, seed: int) -> NDArray[np.int64]:
    """A fold for each example, 0 to FOLDS - 1, [m]: every task is spread over all of them.

    The only example of a task has fold -1: it is never held out.
    """
    counts = examples.counts
    order = np.random.default_rng(seed).permutation(len(examples.points))
    order = order[np.argsort(examples.owners[order], kind="stable")]
    ranks = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    folds = np.empty(len(order), np.int64)
    folds[order] = np.where(np.repeat(counts, counts) > 1, ranks % FOLDS, -1)
    return folds
