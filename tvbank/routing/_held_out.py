"""Examples held out of a router in turn, and what is set by them: its spread, its rejection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Doubles, Examples
from tvbank.routing._metric import FitOptions
from tvbank.routing._neighbours import Neighbourhood

FOLDS = 5

#: With more examples than this, or more numbers in all, one fold is enough, and of it this many
#: examples.
_MANY, _LARGE, _SAMPLE = 20_000, 50_000_000, 4096

#: The spread in units of the keys' variance: what is tried, and what is taken if no example can be
#: held out.
_FACTORS, _USUAL = tuple(2.0 ** (step / 2) for step in range(-2, 31)), 4.0


@final
@dataclass(frozen=True, eq=False)
class HeldOut:
    """What routers say of n examples that they were not fitted to.

    Attributes:
        owners: int64 [n], the number of each one's task.
        top: int64 [n], the task that each would go to.
        evidence: [n], see ``Rejection``.
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


def hold_out(examples: Examples, options: FitOptions) -> HeldOut | None:
    """Fit metric and keys without a fifth of every task's examples, five times in turn.

    None if no task has two examples.
    """
    folds = folded(examples, options.seed)
    parts = []
    large = len(folds) > _MANY or examples.points.size > _LARGE
    for fold in range(1 if large else FOLDS):
        held = examples.part(np.flatnonzero(folds == fold)[:_SAMPLE])
        if not len(held.points):
            continue
        around = Neighbourhood(*options.build(examples.part(folds != fold)))
        near = around.of(held.points, options.neighbours)
        parts.append(
            (
                held.owners.astype(np.int64),
                near.top,
                near.evidence,
                near.distance,
                around.squares(held.points),
                np.full(len(held.points), around.variance),
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


def spread_of(held: HeldOut | None, variance: float) -> float:
    """How far inputs lie from their task's mean: the variance that suits held-out examples best.

    The keys themselves lie closer to their means than inputs do, all the more so the wider the
    features: taken is the spread under which held-out examples are most likely of their tasks.

    Args:
        held: those, if any.
        variance: of the router's keys around their tasks' means, a dimension.
    """
    if held is None:
        return _USUAL * variance
    best, least = _USUAL, np.inf
    for factor in _FACTORS:  # the surprise falls, then rises
        total = float(surprise(held, factor * variance).sum())
        if total >= least:
            break
        best, least = factor, total
    return best * variance


def surprise(held: HeldOut, spread: float) -> Doubles:
    """-log p(task) of every held-out example, in nats, float64 [n]."""
    own = np.take_along_axis(held.squares, held.owners[:, None], 1)
    nats: Doubles = np.logaddexp.reduce((own - held.squares) / (2 * spread), axis=1)
    return nats


@final
@dataclass(frozen=True)
class Rejection:
    """When an input is of no known task: little speaks for the best one, or all keys are far.

    Attributes:
        evidence: the input is rejected below this: z·m - ‖m‖²/2, where z is the input and m the
            mean of its task, both seen from the middle of all tasks in the router's metric. It is
            the logarithm of how much likelier the input is under the task than somewhere around
            that middle.
        distance: or above this, the mean over the neighbours.
    """

    evidence: float
    distance: float


def calibrate(held: HeldOut, rate: float) -> Rejection:
    """The thresholds that together reject a share of held-out examples of known tasks.

    They have the same rank of both scores. What else was tried, and how it compares, is in
    docs/measured/routing.md.
    """
    count = len(held.evidence)
    least, farthest = np.sort(held.evidence), -np.sort(-held.distance)
    # How many examples are as suspicious, by the score that makes this one the most so.
    ranks = np.minimum(
        np.searchsorted(least, held.evidence, "right"),
        np.searchsorted(-farthest, -held.distance, "right"),
    )
    allowed = int(rate * (count + 1))
    rank = int(np.sort(ranks)[allowed - 1]) if allowed else 0
    rank = min(rank, count - 1)
    return Rejection(float(least[rank]), float(farthest[rank]))
