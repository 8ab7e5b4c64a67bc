"""The keys nearest to an input, and what they say of it.

They are found exactly: by one matrix product a block of inputs, or by faiss where there are many.
"""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._examples import Doubles, Examples, Floats
from tvbank.routing._metric import Metric, task_means

Indices = NDArray[np.int64]

#: float32, or float64 where that is needed.
Points = NDArray[np.floating[Any]]

#: Entries of keys from which faiss is taken, where it is installed: it was found to be slower at 9
#: million, and as fast in less memory at 38 million.
FAISS_FROM = 2**25

#: Entries of a block of distances: 64 MiB.
_BLOCK = 2**24

#: Groups of keys: only the least distance of each has to be sorted.
_GROUPS = 4096

#: Keys that faiss multiplies at a time; with its own 1,024 the products are too small.
_FAISS_KEYS = 8192

#: Up to this magnitude squared distances of any width are below the largest float32; beyond it
#: everything is computed in float64, which holds what any float32 keys, metric and input give.
_LARGEST = 2.0**40

#: Beyond this the difference of two float32 numbers may be infinite.
_FARTHEST = 2.0**126

#: Candidates beyond those asked for, in case rounding in the product swaps neighbours.
_SPARE = 8


class Search(ABC):
    """Finds the nearest of some keys."""

    def __init__(self, keys: Points) -> None:
        """Take keys [m, r]."""
        self._keys = keys

    @property
    def _row(self) -> int:
        """Entries that a query takes while candidates are looked for."""
        return len(self._keys)

    def nearest(self, queries: Points, neighbours: int) -> tuple[Points, Indices]:
        """The nearest keys of every query; of equally near ones the first.

        The distances of candidates are computed from the differences, so that a key is found at
        distance 0 from itself, and every kind of search returns the same.

        Args:
            queries: [n, r].
            neighbours: C, at most m.

        Returns:
            Euclidean distances [n, C], ascending, and the keys' numbers [n, C].
        """
        taken = min(len(self._keys), neighbours + _SPARE)
        distances = np.empty((len(queries), neighbours), self._keys.dtype)
        indices = np.empty((len(queries), neighbours), np.int64)
        widest = max(self._row, taken * max(1, self._keys.shape[1]))
        step = max(1, _BLOCK // widest)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            block = queries[rows]
            near = self._candidates(block, taken)
            distances[rows], indices[rows] = _ranked(block, self._keys, near, neighbours)
        return distances, indices

    @abstractmethod
    def _candidates(self, queries: Points, count: int) -> NDArray[np.integer]:
        """The numbers of the nearest keys in any order, [n, count]."""


@final
class Exact(Search):
    """All distances, up to what a query has in common: ‖k‖²/2 - q·k."""

    def __init__(self, keys: Points) -> None:
        """Take keys [m, r]."""
        super().__init__(keys)
        self._half_norms = np.einsum("ij,ij->i", keys, keys) / 2

    def _candidates(self, queries: Points, count: int) -> NDArray[np.integer]:
        near = queries @ self._keys.T
        np.subtract(self._half_norms, near, out=near)
        if count == len(self._keys):
            return np.broadcast_to(np.arange(count), near.shape)
        size = len(self._keys) // _GROUPS
        groups = len(self._keys) // size if size > 1 else 0
        if groups <= count:
            return np.argpartition(near, count - 1, axis=1)[:, :count]
        # The nearest keys lie in the groups whose minima are the least, or after all groups.
        grouped = near[:, : groups * size].reshape(len(near), size, groups)
        best = np.argpartition(grouped.min(1), count - 1, axis=1)[:, :count, None]
        inside = (best + groups * np.arange(size)).reshape(len(near), -1)
        after = np.arange(groups * size, len(self._keys))
        some = np.concatenate([inside, np.broadcast_to(after, (len(near), len(after)))], 1)
        order = np.argpartition(np.take_along_axis(near, some, 1), count - 1, axis=1)
        return np.take_along_axis(some, order[:, :count], 1)


@final
class Faiss(Search):
    """faiss' exhaustive index (``IndexFlatL2``): exact too, and it never holds all distances.

    It reads all keys for every call, so calls must bring many queries.
    """

    def __init__(self, keys: Points) -> None:
        """Take keys [m, r]."""
        import faiss

        super().__init__(keys)
        self._index = faiss.IndexFlatL2(keys.shape[1])
        self._index.add(np.ascontiguousarray(keys))

    @property
    def _row(self) -> int:
        return 1

    def _candidates(self, queries: Points, count: int) -> NDArray[np.integer]:
        import faiss

        before = faiss.cvar.distance_compute_blas_database_bs
        faiss.cvar.distance_compute_blas_database_bs = _FAISS_KEYS
        try:
            indices: Indices = self._index.search(np.ascontiguousarray(queries), count)[1]
        finally:
            faiss.cvar.distance_compute_blas_database_bs = before
        return indices


def searching(keys: Points) -> Search:
    """The search that suits the number of keys [m, r]."""
    if keys.dtype == np.float32 and keys.size >= FAISS_FROM and importlib.util.find_spec("faiss"):
        return Faiss(keys)
    return Exact(keys)


def _ranked(
    queries: Points, keys: Points, candidates: NDArray[np.integer], neighbours: int
) -> tuple[Points, Indices]:
    """The nearest of some candidates of every query, [n, c] -> [n, C], in order."""
    candidates = np.sort(candidates, axis=1)
    difference = keys[candidates] - queries[:, None]
    exact = np.sqrt(np.einsum("ncr,ncr->nc", difference, difference))
    order = np.argsort(exact, axis=1, kind="stable")[:, :neighbours]
    return (
        np.take_along_axis(exact, order, 1),
        np.take_along_axis(candidates, order, 1).astype(np.int64),
    )


@final
@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest keys of n inputs.

    Attributes:
        shares: float64 [n, K], of each task among the neighbours ([F] Eq. 5); rows sum to 1.
        top: int64 [n], the task with the largest share; of equal ones that of the nearest key.
        evidence: float64 [n], what speaks for that task, see ``_held_out.Rejection``.
        distance: float64 [n], the mean over the neighbours.
    """

    shares: Doubles
    top: NDArray[np.int64]
    evidence: Doubles
    distance: Doubles


@final
class Neighbourhood:
    """The keys of a router in its metric, ready to be searched.

    Whatever finite numbers keys, metric and inputs hold, no result is NaN: see ``_LARGEST``.
    """

    def __init__(self, keys: Examples, metric: Metric | None, *, wide: bool = False) -> None:
        """Take keys; ``wide`` computes in float64 in any case."""
        self._keys, self._metric = keys, metric
        self._wide = wide or not self._fits(keys.points)

    def _for(self, rows: Floats) -> Neighbourhood:
        """This neighbourhood, or for inputs that are too large a wide one."""
        return self if self._wide or self._fits(rows) else self._widened

    def _fits(self, rows: Floats) -> bool:
        """Whether float32 holds all squares of such rows [n, d], seen through the metric."""
        largest = _magnitude(rows)
        if self._metric is not None:
            largest += _magnitude(self._metric.centre)
            if largest > _FARTHEST:
                return False
            largest *= _magnitude(self._metric.matrix) * self._metric.matrix.shape[1]
        return largest <= _LARGEST

    @cached_property
    def _widened(self) -> Neighbourhood:
        return Neighbourhood(self._keys, self._metric, wide=True)

    def of(self, rows: Floats, neighbours: int) -> Neighbours:
        """The nearest keys of inputs [n, d]."""
        around = self._for(rows)
        if around is not self:
            return around.of(rows, neighbours)
        inputs = self.project(rows)
        distances, indices = self._search.nearest(inputs, min(neighbours, len(self.points)))
        owners = self._keys.owners[indices].astype(np.int64)
        count, tasks = len(inputs), len(self._keys.tasks)
        numbers = np.arange(count)
        cells = numbers[:, None] * tasks + owners
        votes = np.bincount(cells.reshape(-1), minlength=count * tasks)
        shares = votes.reshape(count, tasks) / indices.shape[1]
        best = np.argmax(shares[numbers[:, None], owners], axis=1)  # the first: they are in order
        top = owners[numbers, best]
        middle, means = self._means
        mean = means[top]
        evidence = np.einsum("nr,nr->n", inputs - middle, mean)
        evidence -= np.einsum("nr,nr->n", mean, mean) / 2
        return Neighbours(shares, top, evidence, distances.mean(1, dtype=np.float64))

    def squares(self, rows: Floats) -> Doubles:
        """|x - m|² for the mean m of each task's keys, less what all have in common: [n, K]."""
        around = self._for(rows)
        if around is not self:
            return around.squares(rows)
        middle, means = self._means
        near = self.project(rows) - middle
        squares: Doubles = np.einsum("kr,kr->k", means, means) - 2 * near @ means.T
        return squares

    @cached_property
    def variance(self) -> float:
        """That of the keys around the means of their tasks, a dimension; 1 if they do not vary."""
        middle, means = self._means
        apart = self.points - (middle + means)[self._keys.owners]
        return float(np.mean(apart**2)) or 1.0

    def project(self, rows: Floats) -> Points:
        """Inputs [n, d] in the metric, [n, r]."""
        if self._wide:  # nothing is subtracted from which the smaller ones would not be left
            doubles = rows.astype(np.float64)
            return doubles if self._metric is None else self._metric.project(doubles)
        return rows - self._centre if self._metric is None else self._metric.project(rows)

    @cached_property
    def points(self) -> Points:
        """The keys in the metric, [m, r]."""
        return self.project(self._keys.points)

    @cached_property
    def _search(self) -> Search:
        return searching(self.points)

    @cached_property
    def _centre(self) -> Floats:
        """Subtracted so that less is rounded away; distances do not change."""
        middle: Floats = self._keys.points.mean(0, dtype=np.float64).astype(np.float32)
        return middle

    @cached_property
    def _means(self) -> tuple[Doubles, Doubles]:
        """The middle of all tasks, [r], and the tasks' means seen from there, [K, r]."""
        means = task_means(self.points.astype(np.float64), self._keys.counts)
        middle = means.mean(0)
        return middle, means - middle


def _magnitude(numbers: Floats) -> float:
    """The largest magnitude; 0 of none."""
    return max(float(numbers.max(initial=0.0)), -float(numbers.min(initial=0.0)))
