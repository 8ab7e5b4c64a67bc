"""How likely each task is, given an input's features, or those of a whole batch.

Shares among ten neighbours take eleven values, too few to tell who is sure. Here
log p_k = -|x - m_k|² / (2 · spread) + const, in the router's metric, m_k the mean of the keys of k.
The keys themselves lie closer to their means than inputs do, all the more so the wider the
features: the spread is the one under which held-out examples are most likely of their tasks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._held_out import HeldOut

Doubles = NDArray[np.float64]

#: Keeps the logarithm of what is all but impossible finite.
_TINY = 1e-12

#: Rounds of expectation maximisation at most, and the change of a share that ends them.
_ROUNDS, _SETTLED = 200, 1e-6

#: A task is in a batch if it accounts for more than an example, or this share of a small batch.
_LEAST, _LEAST_SHARE = 1.0, 1 / 32

#: A batch of which that would be so much, over all tasks, is a mix of many: none is ruled out.
_MANY = 1 / 4

#: The spread in units of the keys' variance: what is tried, and what is taken if no example can be
#: held out.
_FACTORS, _USUAL = tuple(2.0 ** (step / 2) for step in range(-2, 31)), 4.0


def posterior(squares: Doubles, spread: float) -> Doubles:
    """p(task | input), all tasks equally frequent: float64 [n, K], rows sum to one.

    Args:
        squares: [n, K], to the tasks' means; of each row only the differences matter.
        spread: above 0.
    """
    behind = squares - squares.min(1, keepdims=True)
    with np.errstate(over="ignore"):  # so far behind that it is impossible
        likely: Doubles = np.exp(-behind / (2 * spread))
    likely /= likely.sum(1, keepdims=True)
    return likely


def spread_of(held: HeldOut | None, variance: float) -> float:
    """The spread under which held-out examples are most likely of their tasks.

    Args:
        held: those, if any.
        variance: of the router's keys around their tasks' means, a dimension.
    """
    if held is None:
        return _USUAL * variance
    best, least = _USUAL, np.inf
    for factor in _FACTORS:  # the surprise falls, then rises
        found = float(surprise(held, factor * variance).sum())
        if found >= least:
            break
        best, least = factor, found
    return best * variance


def surprise(held: HeldOut, spread: float) -> Doubles:
    """-log p(task) of every held-out example, in nats, float64 [n]."""
    own = np.take_along_axis(held.squares, held.owners[:, None], 1)
    found: Doubles = np.logaddexp.reduce((own - held.squares) / (2 * spread), axis=1)
    return found


def pooled(likely: Doubles, least: float = _LEAST) -> Doubles:
    """Posteriors of a batch, once it has told which tasks are in it, and how frequent each is.

    The mixture of tasks that makes the batch most likely, found by expectation maximisation (as M.
    Saerens, P. Latinne and C. Decaestecker, 2002, for classifiers met with other frequencies),
    stands in for equal frequencies: in a batch that is evidently of one task, an input that could
    be of either of two tasks is of this one. Tasks that account for hardly any example are ruled
    out on the way, so that the others account for those (as M. Figueiredo and A. K. Jain, 2002, rid
    mixtures of components: the prior of the shares is an improper Dirichlet one); not in a batch
    that is a mix of very many.

    Args:
        likely: float64 [n, K], posteriors; rows of zeros have no say and stay as they are, as do
            those that are of none of the tasks that are left.
        least: how many examples a task must account for, more than that, to be in the batch at all;
            of a small batch, more than a thirty-second.

    Returns:
        float64 [n, K]
    """
    known = likely[likely.sum(1) > 0]
    if not len(known):
        return np.zeros_like(likely)
    count = likely.shape[1]
    least = min(least, _LEAST_SHARE * len(known))
    share = np.full(count, 1 / count)
    for _ in range(_ROUNDS):
        before, weighed = share, known * share
        claimed = (weighed / np.maximum(weighed.sum(1, keepdims=True), _TINY)).sum(0)
        taken = np.minimum(claimed, least)
        share = claimed if taken.sum() > _MANY * len(known) else claimed - taken
        share /= share.sum()
        if np.abs(share - before).max() < _SETTLED:
            break
    weighed = likely * share
    total = weighed.sum(1, keepdims=True)
    refined: Doubles = likely.copy()
    np.divide(weighed, total, out=refined, where=total > 0)
    return refined
