"""Putting entries into their places."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel


def scatter(positions: NDArray[np.uint32], values: NDArray[Any], dense: NDArray[Any]) -> None:
    """Write entries of 32 bits into an array.

    Args:
        positions: all less than the length of ``dense``; nothing is checked.
        values: float32 or int32 [count].
        dense: of the values' type, contiguous.
    """
    _scatter(positions, values.view(np.uint32), dense.view(np.uint32))


@kernel
def _scatter(positions: Any, patterns: Any, dense: Any) -> None:
    for index in range(positions.size):
        dense[positions[index]] = patterns[index]
