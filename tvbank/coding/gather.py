"""Taking 32-bit patterns from a list of places, and putting them there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel


@kernel
def _gather(patterns: Any, places: Any, out: Any) -> None:
    for index in range(places.size):
        out[index] = patterns[places[index]]


@kernel
def _scatter(patterns: Any, places: Any, out: Any) -> None:
    for index in range(places.size):
        out[places[index]] = patterns[index]


def gather(patterns: NDArray[np.uint32], places: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """``patterns[places]``; the caller has checked every place."""
    out = np.empty(places.size, np.uint32)
    _gather(patterns, places, out)
    return out


def scatter(
    patterns: NDArray[np.uint32], places: NDArray[np.uint32], entries: int
) -> NDArray[np.uint32]:
    """Zeros, but for ``patterns`` at ``places``; the caller has checked every place.

    Returns:
        uint32 [entries].
    """
    out = np.zeros(entries, np.uint32)
    _scatter(patterns, places, out)
    return out
