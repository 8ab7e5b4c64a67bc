"""Inputs of no known task: little speaks for the best task, or they lie far from all examples.

Two scores, each with a threshold that half of the rejections of known inputs may pass:

- evidence, z·m - ‖m‖²/2, where z is an input and m the mean of its task, both seen from the middle
  of all tasks in the router's metric: the logarithm of how much likelier the task makes the input
  than being somewhere around that middle does;
- distance, the mean over the neighbours.

Thresholds come from examples that were held out, metric, centres and all. What else was tried, and
how it compares, is in spec/decisions/0020.
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
    rate = method.reject / 2
    return Rejection(
        -_ceiling(-np.concatenate(evidence), rate), _ceiling(np.concatenate(distance), rate)
    )


def _ceiling(scores: Doubles, rate: float) -> float:
    """What a further score exceeds with a probability of ``rate`` at most, if it is alike."""
    rank = int(np.ceil((len(scores) + 1) * (1 - rate)))
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


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
