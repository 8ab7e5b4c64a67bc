"""Exact nearest neighbours by one matrix product a block, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

#: Entries of a block of distances: 64 MiB.
_BLOCK = 2**24

#: Candidates beyond those asked for, in case rounding in the product swaps neighbours.
_SPARE = 8


def nearest(queries: Floats, keys: Floats, neighbours: int) -> tuple[Floats, Indices]:
    """The nearest keys of every query; of equally near ones the first.

    Candidates come from ‖k‖² − 2·q·k, their distances are then computed from the differences, so
    that a key finds itself at distance 0.

    Args:
        queries: [n, r].
        keys: [m, r].
        neighbours: C, at most m.

    Returns:
        Euclidean distances [n, C], ascending, and the keys' numbers [n, C].
    """
    taken = min(len(keys), neighbours + _SPARE)
    half_norms = np.einsum("ij,ij->i", keys, keys) / 2
    distances = np.empty((len(queries), neighbours), np.float32)
    indices = np.empty((len(queries), neighbours), np.int64)
    step = max(1, _BLOCK // max(len(keys), taken * max(1, keys.shape[1])))
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        block = queries[rows]
        near = half_norms - block @ keys.T
        found = (
            np.argpartition(near, taken - 1, axis=1)[:, :taken]
            if taken < len(keys)
            else np.broadcast_to(np.arange(len(keys)), near.shape)
        )
        distances[rows], indices[rows] = ranked(block, keys, found, neighbours)
    return distances, indices


def ranked(
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
