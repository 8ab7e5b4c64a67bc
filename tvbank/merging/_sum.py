"""Weighted sums of lossy tasks, all frames of a chunk in one loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.add import ADD_ROOM, add_frames
from tvbank.coding.decoding.batch import address_of, batch_of
from tvbank.coding.decoding.positions import run_tables_address


def sum_at_once(
    base: NDArray[Any], weights: NDArray[np.float32], frames: Sequence[bytes], length: int
) -> NDArray[Any] | None:
    """What ``WeightedSum`` comes to, bit for bit, if nothing is wrong.

    Args:
        base: the base's weights of a chunk, [n].
        weights: float32 [k].
        frames: k float32 frames of the chunk, without checksums.
        length: entries of a whole chunk.

    Returns:
        The sum in the base's element type; ``None`` if a frame violates the format, or a weight is
        not finite: then ``WeightedSum`` tells what is to be done.
    """
    batch = batch_of(frames, length, True)
    if batch is None:
        return None
    total = base.astype(np.float32)
    scratch = np.empty(ADD_ROOM * int(batch.nonzeros.max(initial=0)), np.uint32)
    wrong = add_frames(
        batch.table, weights, total.size, address_of(total), address_of(scratch),
        run_tables_address(),
    )  # fmt: skip
    if wrong >= 0:
        return None
    with np.errstate(over="ignore"):
        rounded = total.astype(base.dtype, copy=False)
    return rounded if np.isfinite(rounded).all() else None
