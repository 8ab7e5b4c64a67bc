"""Packed factors: both factors of a product as levels, a step a component (spec/products.md).

| bytes | what |
|---|---|
| 2 | number of components, u16 |
| 2 a component | its step, bfloat16 |
| the rest | the levels, as ``levels`` codes them |

A column of B has the levels themselves, a row of A its levels times the component's step, rounded
to binary32.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.levels import decode_levels, encode_levels

#: Most components of a product.
MOST_COMPONENTS: Final = 2**16 - 1


def pack_factors(levels: NDArray[np.int32], steps: NDArray[np.uint16], rows: int) -> bytes:
    """The bytes of both factors.

    Args:
        levels: [components, rows + columns], each of at most 15 bits and a sign.
        steps: bfloat16 [components], as patterns.
        rows: of B.
    """
    head = np.uint16(len(steps)).tobytes() + steps.tobytes()
    return head + encode_levels(np.ascontiguousarray(levels), rows).tobytes()


def unpack_factors(
    data: bytes, rows: int, columns: int, rank: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """B [rows, components] and A [components, columns], float32; at most as many as the rank.

    Raises:
        ValueError: the bytes are not what they should be; says why.
    """
    count = int(np.frombuffer(data[:2], np.uint16)[0]) if len(data) >= 2 else 0
    start = 2 + 2 * count
    if len(data) < start:
        raise ValueError("it ends before the steps of its components do")
    if count > min(rank, rows, columns):
        raise ValueError(f"it has {count} components, more than its rank or the unit's sides")
    patterns = np.frombuffer(data[2:start], np.uint16).astype(np.uint32)
    steps = (patterns << np.uint32(16)).view(np.float32)
    levels = decode_levels(np.frombuffer(data[start:], np.uint8), rows, columns, count)
    if levels is None:
        raise ValueError("bytes follow its last level")
    with np.errstate(over="ignore", invalid="ignore"):
        a = levels[:, rows:].astype(np.float32) * steps[:, None]
    if not (np.isfinite(steps).all() and np.isfinite(a).all()):
        raise ValueError("a step, or a number of a factor, is NaN or infinite")
    return np.ascontiguousarray(levels[:, :rows].T.astype(np.float32)), a
