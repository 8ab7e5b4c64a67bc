"""What the keys around an input say: whose they are, how near, and what speaks for their task."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._discriminant import Metric, task_means
from tvbank.routing._examples import Examples, Floats
from tvbank.routing._search import Search, searching

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Found:
    """Of n inputs.

    Attributes:
        distances: float32 [n, C], ascending.
        keys: int64 [n, C], the keys' numbers.
        shares: float64 [n, K], of each task among the neighbours ([F] Eq. 5); rows sum to 1.
        top: int64 [n], the task with the largest share; of equal ones that of the nearest key.
        evidence: float64 [n], what speaks for that task, see ``_rejection``.
    """

    distances: Floats
    keys: NDArray[np.int64]
    shares: Doubles
    top: NDArray[np.int64]
    evidence: Doubles

    @property
    def typical_distance(self) -> Doubles:
        """The mean distance to the neighbours, [n]."""
        mean: Doubles = self.distances.mean(1, dtype=np.float64)
        return mean


class Neighbourhood:
    """The keys of a router in its metric, ready to be searched."""

    def __init__(self, keys: Examples, metric: Metric | None, tasks: int) -> None:
        """Project the keys; ``tasks`` is K."""
        self._keys, self._metric, self._tasks = keys, metric, tasks

    def of(self, rows: Floats, neighbours: int) -> Found:
        """Look around inputs [n, d]."""
        inputs = self.project(rows)
        distances, found = self._search.nearest(inputs, min(neighbours, len(self.points)))
        owners = self._keys.owners[found].astype(np.int64)
        count = len(inputs)
        cells = np.arange(count)[:, None] * self._tasks + owners
        votes = np.bincount(cells.reshape(-1), minlength=count * self._tasks)
        shares = votes.reshape(count, self._tasks) / found.shape[1]
        each = np.arange(count)
        best = np.argmax(shares[each[:, None], owners], axis=1)  # the first: they are in order
        top = owners[each, best]
        middle, means = self._means
        mean = means[top]
        evidence = np.einsum("nr,nr->n", inputs - middle, mean)
        evidence -= np.einsum("nr,nr->n", mean, mean) / 2
        return Found(distances, found, shares, top, evidence)

    def squares(self, rows: Floats) -> Doubles:
        """|x - m|² for the mean m of each task's keys, less what all have in common: [n, K]."""
        middle, means = self._means
        near = self.project(rows) - middle
        found: Doubles = np.einsum("kr,kr->k", means, means) - 2 * near @ means.T
        return found

    @cached_property
    def variance(self) -> float:
        """Of the keys around the means of their tasks, a dimension; 1 if there is none."""
        middle, means = self._means
        apart = self.points - (middle + means)[self._keys.owners]
        return float(np.mean(apart**2)) or 1.0

    def project(self, rows: Floats) -> Floats:
        """Inputs [n, d] in the metric, [n, r]."""
        return rows - self._centre if self._metric is None else self._metric.project(rows)

    @cached_property
    def points(self) -> Floats:
        """The keys in the metric, float32 [m, r]."""
        return self.project(self._keys.points)

    @cached_property
    def _search(self) -> Search:
        return searching(self.points)

    @cached_property
    def _centre(self) -> Floats:
        """Subtracted for the sake of rounding; distances do not change."""
        middle: Floats = self._keys.points.mean(0, dtype=np.float64).astype(np.float32)
        return middle

    @cached_property
    def _means(self) -> tuple[Doubles, Doubles]:
        """The middle of all tasks, [r], and the tasks' means seen from there, [K, r]."""
        means = task_means(Examples(self._keys.tasks, self.points, self._keys.owners))
        middle = means.mean(0)
        return middle, means - middle
