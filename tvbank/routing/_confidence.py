"""How likely each task is, given an input's features, or those of a whole batch."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import checked_rows
from tvbank.routing.router import Router

#: Keeps the logarithm of what is all but impossible finite.
_TINY = 1e-12

#: Rounds of expectation maximisation at most, and the change of a share that ends them.
_ROUNDS, _SETTLED = 100, 1e-6

#: Temperatures that are tried.
TEMPERATURES = tuple(2.0 ** (step / 2) for step in range(-2, 15))


@final
class Likelihood:
    """p(task | input) if tasks were equally frequent, and round in a router's metric.

    Shares among ten neighbours take eleven values, too few to tell who is sure. Here
    log p_k = -d(x, mean of the keys of k)² / (2 s² · temperature) + const, with s² the variance of
    keys around their means, a dimension.
    """

    def __init__(self, router: Router) -> None:
        """Find the means of the tasks' keys."""
        keys = router._projected.astype(np.float64)
        counts = np.bincount(router.owners, minlength=len(router.tasks))
        means = np.zeros((len(counts), keys.shape[1]))
        np.add.at(means, router.owners, keys)
        self._router, self._means = router, means / counts[:, None]
        self._variance = float(np.mean((keys - self._means[router.owners]) ** 2)) or 1.0

    def posterior(self, features: Any, temperature: float) -> NDArray[np.float64]:
        """How likely each task is.

        Args:
            features: [n, d] of the router's recipe.
            temperature: above 1 where the keys are few and flatter the metric.

        Returns:
            float64 [n, K], rows sum to one.
        """
        rows = self._router._project(checked_rows(features, "routing")).astype(np.float64)
        # Less the squared length of the row, which all tasks have in common.
        distances = (self._means**2).sum(1) - 2 * rows @ self._means.T
        logits = -distances / (2 * self._variance * temperature)
        likely: NDArray[np.float64] = np.exp(logits - logits.max(1, keepdims=True))
        likely /= likely.sum(1, keepdims=True)
        return likely


def surprise(likely: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The sum of -log p(task of each input)."""
    return -float(np.log(likely[np.arange(len(truth)), truth] + _TINY).sum())


def pooled(likely: NDArray[np.float64], prior: float = 0.5) -> NDArray[np.float64]:
    """Posteriors of a batch, once it has told how frequent each task is in it.

    The mixture of tasks that makes the batch most likely, found by expectation maximisation (as M.
    Saerens, P. Latinne and C. Decaestecker, 2002, for classifiers met with other frequencies),
    stands in for equal frequencies: in a batch that is evidently of one task, an input that could
    be of either of two tasks is of this one.

    Args:
        likely: float64 [n, K], posteriors; rows of zeros have no say and stay as they are.
        prior: examples of each task that are taken to have been seen, 0 or more: by how much a
            small batch is kept from ruling a task out.

    Returns:
        float64 [n, K]
    """
    known = likely[likely.sum(1) > 0]
    if not len(known):
        return np.zeros_like(likely)
    count = likely.shape[1]
    share = np.full(count, 1 / count)
    for _ in range(_ROUNDS):
        before, weighed = share, known * share
        share = (weighed / weighed.sum(1, keepdims=True)).sum(0) + prior
        share /= share.sum()
        if np.abs(share - before).max() < _SETTLED:
            break
    weighed = likely * share
    total = weighed.sum(1, keepdims=True)
    refined: NDArray[np.float64] = np.zeros_like(weighed)
    np.divide(weighed, total, out=refined, where=total > 0)
    return refined
