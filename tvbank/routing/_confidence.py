"""How likely each task is, given an input's features, or those of a whole batch."""

from __future__ import annotations

import numpy as np

from tvbank.routing._examples import Doubles

#: Keeps the logarithm of what is all but impossible finite.
_TINY = 1e-12

#: Rounds of expectation maximisation at most, and the change of a share that ends them.
_ROUNDS, _SETTLED = 200, 1e-6

#: A task is in a batch if it accounts for more than one example, or for more than this share of a
#: small batch.
_LEAST, _LEAST_SHARE = 1.0, 1 / 32

#: Where ruling tasks out would take away more than this share of a batch, it is a mix of very many
#: tasks, and none is ruled out.
_MANY = 1 / 4


def posterior(squares: Doubles, spread: float) -> Doubles:
    """p(task | input), all tasks equally frequent: float64 [n, K], rows sum to one.

    Shares among ten neighbours take eleven values, too few to say how sure a router is. Here
    log p_k = -|x - m_k|² / (2 · spread) + const, in the router's metric, m_k the mean of task k's
    keys.

    Args:
        squares: [n, K], to the tasks' means; of each row only the differences matter.
        spread: above 0, see ``_held_out.spread_of``.
    """
    farther = squares - squares.min(1, keepdims=True)
    with np.errstate(over="ignore"):  # so much farther that it is impossible
        likely: Doubles = np.exp(-farther / (2 * spread))
    likely /= likely.sum(1, keepdims=True)
    return likely


def pooled(likely: Doubles, least: float = _LEAST) -> Doubles:
    """Posteriors of a batch, given how frequent each task is in it.

    The frequencies are those of the mixture of tasks that makes the batch most likely, found by
    expectation maximisation (M. Saerens, P. Latinne and C. Decaestecker, 2002, adjust classifiers
    to other frequencies so): in a batch that is evidently of one task, an input that could be of
    either of two tasks is of this one. Tasks that account for hardly any example are ruled out on
    the way, and their examples go to the others (M. Figueiredo and A. K. Jain, 2002, remove
    components of mixtures so: the prior of the shares is an improper Dirichlet one); not in a batch
    that is a mix of very many tasks.

    Args:
        likely: float64 [n, K], posteriors; rows of zeros do not count and stay as they are, as do
            those of inputs that are of none of the tasks that are left.
        least: a task is in the batch if it accounts for more examples than this; in a small batch,
            for more than a thirty-second.

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
