"""Nearest neighbours: exact by one matrix product a block; by faiss where there are many keys."""

from __future__ import annotations

import importlib.util
from abc import ABC, abstractmethod
from typing import final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

#: From so many entries of keys on faiss is asked, where it is installed: ``tools/bench/routing.py``
#: found it slower at 9 million, and as fast in less memory at 38 million.
FAISS_FROM = 2**25

#: Entries of a block of distances: 64 MiB.
_BLOCK = 2**24

#: Keys are grouped, so that only the least distance of each of so many groups has to be sorted.
_GROUPS = 4096

#: Keys that faiss multiplies at a time; with its own 1,024 the products are too small.
_FAISS_KEYS = 8192

#: Candidates beyond those asked for, in case rounding in the product swaps neighbours.
_SPARE = 8


class Search(ABC):
    """Finds keys."""

    def __init__(self, keys: Floats) -> None:
        """Take keys [m, r]."""
        self._keys = keys

    @property
    def _row(self) -> int:
        """Entries that a query takes while candidates are looked for."""
        return len(self._keys)

    def nearest(self, queries: Floats, neighbours: int) -> tuple[Floats, Indices]:
        """The nearest keys of every query; of equally near ones the first.

        Candidates come from the search proper, their distances are then computed from the
        differences, so that a key finds itself at distance 0 and every search gives the same.

        Args:
            queries: [n, r].
            neighbours: C, at most m.

        Returns:
            Euclidean distances [n, C], ascending, and the keys' numbers [n, C].
        """
        taken = min(len(self._keys), neighbours + _SPARE)
        distances = np.empty((len(queries), neighbours), np.float32)
        indices = np.empty((len(queries), neighbours), np.int64)
        widest = max(self._row, taken * max(1, self._keys.shape[1]))
        step = max(1, _BLOCK // widest)
        for start in range(0, len(queries), step):
            rows = slice(start, start + step)
            block = queries[rows]
            found = self._candidates(block, taken)
            distances[rows], indices[rows] = _ranked(block, self._keys, found, neighbours)
        return distances, indices

    @abstractmethod
    def _candidates(self, queries: Floats, count: int) -> NDArray[np.integer]:
        """The numbers of the nearest keys in any order, [n, count]."""


@final
class Exact(Search):
    """All distances, up to what a query has in common: ‖k‖²/2 - q·k."""

    def __init__(self, keys: Floats) -> None:
        """Take keys [m, r]."""
        super().__init__(keys)
        self._half_norms = np.einsum("ij,ij->i", keys, keys) / 2

    def _candidates(self, queries: Floats, count: int) -> NDArray[np.integer]:
        near = queries @ self._keys.T
        np.subtract(self._half_norms, near, out=near)
        if count == len(self._keys):
            return np.broadcast_to(np.arange(count), near.shape)
        size = len(self._keys) // _GROUPS
        groups = len(self._keys) // size if size > 1 else 0
        if groups <= count:
            return np.argpartition(near, count - 1, axis=1)[:, :count]
        # The nearest keys lie in the groups whose minima are the least, or behind all groups.
        grouped = near[:, : groups * size].reshape(len(near), size, groups)
        best = np.argpartition(grouped.min(1), count - 1, axis=1)[:, :count, None]
        inside = (best + groups * np.arange(size)).reshape(len(near), -1)
        behind = np.arange(groups * size, len(self._keys))
        found = np.concatenate([inside, np.broadcast_to(behind, (len(near), len(behind)))], 1)
        order = np.argpartition(np.take_along_axis(near, found, 1), count - 1, axis=1)
        return np.take_along_axis(found, order[:, :count], 1)


@final
class Faiss(Search):
    """faiss' exhaustive index (``IndexFlatL2``): exact too, and it never holds all distances.

    It reads all keys for every call, so calls must bring many queries.
    """

    def __init__(self, keys: Floats) -> None:
        """Take keys [m, r]."""
        import faiss

        super().__init__(keys)
        self._index = faiss.IndexFlatL2(keys.shape[1])
        self._index.add(np.ascontiguousarray(keys))

    @property
    def _row(self) -> int:
        return 1

    def _candidates(self, queries: Floats, count: int) -> NDArray[np.integer]:
        import faiss

        before = faiss.cvar.distance_compute_blas_database_bs
        faiss.cvar.distance_compute_blas_database_bs = _FAISS_KEYS
        try:
            found: Indices = self._index.search(np.ascontiguousarray(queries), count)[1]
        finally:
            faiss.cvar.distance_compute_blas_database_bs = before
        return found


def searching(keys: Floats) -> Search:
    """The search that suits the number of keys [m, r]."""
    if keys.size >= FAISS_FROM and importlib.util.find_spec("faiss"):
        return Faiss(keys)
    return Exact(keys)


def _ranked(
    queries: Floats, keys: Floats, candidates: NDArray[np.integer], neighbours: int
) -> tuple[Floats, Indices]:
    """The nearest of some candidates of every query, [n, c] -> [n, C], in order."""
    candidates = np.sort(candidates, axis=1)
    difference = keys[candidates] - queries[:, None]
    exact = np.sqrt(np.einsum("ncr,ncr->nc", difference, difference))
    order = np.argsort(exact, axis=1, kind="stable")[:, :neighbours]
    return (
        np.take_along_axis(exact, order, 1),
        np.take_along_axis(candidates, order, 1).astype(np.int64),
    )
