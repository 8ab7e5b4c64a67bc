"""Which entries of a task vector are kept, by the rank of their sizes.

Sizes are ordered as their patterns are. The one of a rank is found by counting, first the upper
half of the patterns, then the lower half of those that have the right upper one; nothing is sorted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

_HALF = 16


def among_smallest(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """Which entries are the ``count`` smallest: bool [n]; of equal ones, those that come first.

    Args:
        sizes: float32 [n], none with a sign.
        count: at most n.
    """
    patterns = sizes.numpy().view(np.uint32)
    if not 0 < count < len(patterns):
        return torch.full(sizes.shape, count > 0)
    last = _of_rank(patterns, count)
    return _chosen(patterns < last, patterns == last, count)


def among_largest(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """The same of the largest; of equal ones, too, those that come first."""
    patterns = sizes.numpy().view(np.uint32)
    if not 0 < count < len(patterns):
        return torch.full(sizes.shape, count > 0)
    last = _of_rank(patterns, len(patterns) - count + 1)
    return _chosen(patterns > last, patterns == last, count)


def _chosen(beyond: NDArray[np.bool_], equal: NDArray[np.bool_], count: int) -> torch.Tensor:
    """Those beyond the last, and as many of its equals as are left to choose."""
    left = count - int(np.count_nonzero(beyond))
    beyond[np.flatnonzero(equal)[:left]] = True
    return torch.from_numpy(beyond)


def _of_rank(patterns: NDArray[np.uint32], rank: int) -> Any:
    """The pattern of a rank, from 1 for the smallest."""
    upper = patterns >> np.uint32(_HALF)
    first, rank = _located(upper, rank)
    second, _ = _located(patterns[upper == first] & np.uint32(2**_HALF - 1), rank)
    return np.uint32(first << _HALF | second)


def _located(halves: NDArray[np.uint32], rank: int) -> tuple[int, int]:
    """The half that has a rank, and which rank it is among those that have this half."""
    ends = np.cumsum(np.bincount(halves, minlength=2**_HALF))
    place = int(np.searchsorted(ends, rank))
    return place, rank - int(ends[place - 1] if place else 0)
