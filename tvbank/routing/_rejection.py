"""Inputs of no known task: little speaks for the best task, or they lie far from all examples.

Two scores, each with a threshold:

- evidence, z·m - ‖m‖²/2, where z is an input and m the mean of its task, both seen from the middle
  of all tasks in the router's metric: the logarithm of how much likelier the task makes the input
  than being somewhere around that middle does;
- distance, the mean over the neighbours.

Thresholds come from examples that were held out of metric, centres and all, at the same rank of
both scores, so that together they reject the share asked for. What else was tried, and how it
compares, is in spec/decisions/0024-shrinkage-lda-and-two-thresholds.md.
"""

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


@dataclass(frozen=True)
class Rejection:
    """When an input is of no known task.

    Attributes:
        evidence: below this,
        distance: or above this.
    """

    evidence: float
    distance: float


def calibrate(examples: Examples, method: Method) -> Rejection | None:
    """The thresholds that reject a share ``method.reject`` of held-out examples of known tasks.

    None if no task has two examples, so that none can be held out.
    """
    assert method.reject is not None
    folds = folded(examples, method.seed)
    evidence, distance = [], []
    for fold in range(FOLDS if len(folds) <= _MANY else 1):
        held = np.flatnonzero(folds == fold)[:_SAMPLE]
        if not len(held):
            continue
        kept = folds != fold
        rest = Examples(examples.tasks, examples.points[kept], examples.owners[kept])
        near = Neighbourhood(*method.build(rest), len(examples.tasks))
        found = near.of(examples.points[held], method.neighbours)
        evidence.append(found.evidence)
        distance.append(found.typical_distance)
    if not evidence:
        return None
    return _thresholds(np.concatenate(evidence), np.concatenate(distance), method.reject)


def _thresholds(evidence: Doubles, distance: Doubles, rate: float) -> Rejection:
    """Thresholds at equal ranks of both scores, such that together they reject that share."""
    count = len(evidence)
    least, farthest = np.sort(evidence), -np.sort(-distance)
    # How many examples are as suspicious, by the score that makes this one the most so.
    ranks = np.minimum(
        np.searchsorted(least, evidence, "right"), np.searchsorted(-farthest, -distance, "right")
    )
    allowed = int(rate * (count + 1))
    rank = int(np.sort(ranks)[allowed - 1]) if allowed else 0
    rank = min(rank, count - 1)
    return Rejection(float(least[rank]), float(farthest[rank]))


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
