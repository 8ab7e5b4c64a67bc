"""Which entries of a task vector are kept, by the rank of their sizes."""

from __future__ import annotations

import numpy as np
import torch


def among_smallest(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """Which entries are the ``count`` smallest: bool [n]; of equal ones, those that come first.

    Args:
        sizes: float32 [n].
        count: at most n.
    """
    if count <= 0 or not sizes.numel():
        return torch.zeros(sizes.shape, dtype=torch.bool)
    if count >= sizes.numel():
        return torch.ones(sizes.shape, dtype=torch.bool)
    last = torch.from_numpy(np.partition(sizes.numpy(), count - 1)[count - 1 : count])
    chosen = sizes < last
    equal = torch.nonzero(sizes == last).flatten()
    chosen[equal[: count - int(chosen.sum())]] = True
    return chosen


def among_largest(sizes: torch.Tensor, count: int) -> torch.Tensor:
    """The same of the largest; of equal ones, too, those that come first."""
    return among_smallest(-sizes, count)
