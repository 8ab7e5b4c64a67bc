"""The entries of a unit as a scaled product of two thin matrices: the same bits everywhere.

    entry[i, j] = (0 + left[i, 0]·right[0, j] + left[i, 1]·right[1, j] + …)·scale

in binary32: every multiplication and addition is rounded, in this order, and none are fused
(spec/products.md, "The entries"). A zero of either sign is +0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel


def product_entries(
    left: NDArray[np.float32],
    right: NDArray[np.float32],
    scale: np.float32,
    first: int,
    stop: int,
) -> NDArray[np.float32]:
    """Entries ``first`` to ``stop`` of the product, flattened in C order; on any thread.

    Args:
        left: [rows, rank], contiguous.
        right: [rank, columns], contiguous.
        scale: that all sums are multiplied by.
        first: 0 <= first <= stop.
        stop: at most rows times columns.
    """
    entries = np.zeros(stop - first, np.float32)
    if entries.size:
        _multiply(left, right, scale, first, entries)
    return entries


@kernel
def _multiply(left: Any, right: Any, scale: Any, first: int, entries: Any) -> None:
    """Row by row, each in the cache; four ranks a pass, added in their order."""
    rank, columns = right.shape
    done, count = 0, entries.size
    row, column = first // columns, first % columns
    while done < count:
        width = min(columns - column, count - done)
        out = entries[done : done + width]
        k = 0
        while k + 4 <= rank:
            l0, l1, l2, l3 = left[row, k], left[row, k + 1], left[row, k + 2], left[row, k + 3]
            r0 = right[k, column : column + width]
            r1 = right[k + 1, column : column + width]
            r2 = right[k + 2, column : column + width]
            r3 = right[k + 3, column : column + width]
            for j in range(width):
                out[j] = (((out[j] + l0 * r0[j]) + l1 * r1[j]) + l2 * r2[j]) + l3 * r3[j]
            k += 4
        while k < rank:
            l0 = left[row, k]
            r0 = right[k, column : column + width]
            for j in range(width):
                out[j] = out[j] + l0 * r0[j]
            k += 1
        for j in range(width):
            out[j] = out[j] * scale + np.float32(0)
        done += width
        row, column = row + 1, 0
