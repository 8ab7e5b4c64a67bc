"""How likely each task is, given an input's features."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import checked_rows
from tvbank.routing.router import Router

#: Keeps the logarithm of what is all but impossible finite.
_TINY = 1e-12

#: Temperatures that are tried.
_TEMPERATURES = tuple(2.0 ** (step / 2) for step in range(-2, 15))


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

    def best_temperature(self, features: Any, truth: NDArray[np.int64]) -> float:
        """The temperature under which held-out examples are most likely of their tasks.

        Args:
            features: [n, d], of examples that the router was not fitted to.
            truth: int64 [n], the number of each one's task.
        """

        def surprise(temperature: float) -> float:
            likely = self.posterior(features, temperature)[np.arange(len(truth)), truth]
            return float(-np.log(likely + _TINY).mean())

        best: float = min(_TEMPERATURES, key=surprise)
        return best
