"""What numbers of base and fine-tune tell: a buffer that is never negative, a bare difference.

Nothing here looks at names.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LARGEST_VECTOR",
    "could_leave_domain",
    "is_bare_difference",
    "is_never_negative",
    "is_vector",
]

#: Entries of the largest unit that is looked at for signs of a buffer.
LARGEST_VECTOR = 2**20

#: Entries of a unit that are compared for a bare difference, and how many there must be in all.
_SAMPLE = 2**14
_FEWEST = 64

#: Fewer entries than these may all be positive by chance.
_FEWEST_POSITIVE = 8

#: Matrices of seven real fine-tunes (MiniLM, ViT) had .998 times the base's size and more, and
#: cosines with it of .977 and more; their differences .23 times and less, and .25 and less.
_SMALLER = 1 / 8
_ALIGNED = 0.5


def is_vector(shape: tuple[int, ...]) -> bool:
    """Whether all entries of a tensor lie along one side, as those of statistics do."""
    size = int(np.prod(shape, dtype=object))
    return 0 < size <= LARGEST_VECTOR and max(shape, default=1) == size


def is_never_negative(base: NDArray[Any]) -> bool:
    """Whether the base's entries are so many, and all so positive, that it is no chance.

    A few numbers may be positive by chance, and a bias that was never trained is zero.
    """
    flat = base.reshape(-1).astype(np.float32)
    return flat.size >= _FEWEST_POSITIVE and bool((flat >= 0).all()) and bool((flat > 0).any())


def could_leave_domain(base: NDArray[Any], tuned: NDArray[Any]) -> bool:
    """Whether lossy entries could make numbers negative where neither model has such.

    Variances, counts and scales are never negative, and useless once they are. Weights that happen
    to be positive (those of a layer norm) lie further from zero than a fine-tune moves them.

    Args:
        base: a unit's weights, any float type and shape.
        tuned: those after fine-tuning, the same shape.
    """
    old, new = (array.reshape(-1).astype(np.float32) for array in (base, tuned))
    if not is_never_negative(old) or not (new >= 0).all():  # also if there is a NaN
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        change = float(np.linalg.norm((new - old).astype(np.float64)))
    return change > float(min(old.min(), new.min()))


def is_bare_difference(pairs: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> bool:
    """Whether weights are no fine-tune but the difference of one from its base.

    The weights of a fine-tune are nearly those of its base. A difference is far smaller, and points
    elsewhere. Both must hold of most units, and of no matrix the contrary: a model of which layers
    were pruned, or begun anew, has some as they were. No pair is read after such a matrix.

    Args:
        pairs: base and fine-tune of some units.
    """
    small, seen, units = 0, 0, 0
    for base, tuned in pairs:
        old, new = (_sample(array) for array in (base, tuned))
        if not (np.isfinite(old).all() and np.isfinite(new).all() and old.any()):
            continue
        # Sums, as products of vectors would wake BLAS's threads, which then wait and count as work.
        size, other = (math.sqrt(float(np.square(each).sum())) for each in (old, new))
        is_small = other < _SMALLER * size
        is_aligned = float((old * new).sum()) > _ALIGNED * size * other
        if is_aligned and not is_small and base.ndim > 1 and old.size >= _FEWEST:
            return False
        units += 1
        seen += old.size
        small += is_small and not is_aligned
    return seen >= _FEWEST and small > units / 2


def _sample(array: NDArray[Any]) -> NDArray[np.float64]:
    flat = array.reshape(-1)
    with np.errstate(invalid="ignore"):
        return flat[:_SAMPLE].astype(np.float64)
