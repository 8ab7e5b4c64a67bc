"""Parts of the work for threads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.table import FIRST, LAST, PART_COLUMNS

#: Fewer non-zeros than this are not worth a part of their own, and so many times as many are not
#: worth a second thread.
_LEAST, _WORTH = 5_000, 8
#: Parts for each thread, so that all end at about the same time.
_PARTS = 32


def cut(
    counts: NDArray[np.int64], threads: int, orders: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """Cut rows into parts of about the same number of non-zeros.

    Args:
        counts: int64 [rows], the non-zeros of each.
        threads: how many will take parts.
        orders: int64 [rows], ascending; rows with the same one stay together.

    Returns:
        int64 [parts, ``PART_COLUMNS``], with no old rows; one part at least, if an empty one.
    """
    total = np.cumsum(counts)
    whole = int(total[-1]) if len(total) else 0
    wanted = min(_PARTS * threads, whole // _LEAST) if whole >= _WORTH * _LEAST else 1
    inner = np.searchsorted(total, whole * np.arange(1, wanted) // wanted, side="left") + 1
    if orders is not None and len(inner):
        inner = np.searchsorted(orders, orders[np.minimum(inner, len(orders) - 1)])
    edges = np.unique([0, *inner.tolist(), len(counts)])
    parts = np.zeros((max(1, len(edges) - 1), PART_COLUMNS), np.int64)
    parts[: len(edges) - 1, FIRST], parts[: len(edges) - 1, LAST] = edges[:-1], edges[1:]
    return parts
