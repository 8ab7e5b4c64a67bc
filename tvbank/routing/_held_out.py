"""Examples that are held out of a router in turn: what it says of inputs it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Examples
from tvbank.routing._method import Method
from tvbank.routing._neighbourhood import Neighbourhood

Doubles = NDArray[np.float64]

FOLDS = 5

#: With more examples than this one fold is enough, and so many of its examples.
_MANY, _SAMPLE = 20_000, 4096


@dataclass(frozen=True, eq=False)
class HeldOut:
    """What routers fitted without them say of n examples.

    Attributes:
        owners: int64 [n], the number of each one's task.
        top: int64 [n], the task that each would go to.
        evidence: [n], see ``_rejection``.
        distance: [n], the mean over the neighbours.
        squares: [n, K], see ``Neighbourhood.squares``.
        variance: [n], see ``Neighbourhood.variance``.
    """

    owners: NDArray[np.int64]
    top: NDArray[np.int64]
    evidence: Doubles
    distance: Doubles
    squares: Doubles
    variance: Doubles


def hold_out(examples: Examples, method: Method) -> HeldOut | None:
    """Hold out a fifth of every task's examples, of metric, centres and all; then the next fifth.

    None if no task has two examples.
    """
    folds = folded(examples, method.seed)
    parts = []
    for fold in range(FOLDS if len(folds) <= _MANY else 1):
        held = np.flatnonzero(folds == fold)[:_SAMPLE]
        if not len(held):
            continue
        kept = folds != fold
        rest = Examples(examples.tasks, examples.points[kept], examples.owners[kept])
        near = Neighbourhood(*method.build(rest), len(examples.tasks))
        rows = examples.points[held]
        found = near.of(rows, method.neighbours)
        parts.append(
            (
                examples.owners[held].astype(np.int64),
                found.top,
                found.evidence,
                found.typical_distance,
                near.squares(rows),
                np.full(len(rows), near.variance),
            )
        )
    if not parts:
        return None
    return HeldOut(*map(np.concatenate, zip(*parts, strict=True)))


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
