"""Weighted sums of lossy tasks, all frames of a chunk in one loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.memory import float_of, load_8, load_32, pattern_of, store_32
from tvbank.coding.decoding.patterns import SIGN, decode_patterns, sign_magnitude
from tvbank.coding.decoding.positions import decode_positions, run_tables_address
from tvbank.coding.decoding.table import (
    EXTENT,
    NONZEROS,
    VALUES,
    VALUES_AT,
    address_of,
    batch_of,
)
from tvbank.coding.faults import raise_stopped
from tvbank.coding.kernel import kernel

_U, _U32 = np.uint64, np.uint32
_TWO, _FOUR = _U(2), _U(4)


def sum_at_once(
    base: NDArray[Any], weights: NDArray[np.float32], frames: Sequence[bytes], length: int
) -> NDArray[Any] | None:
    """The sum that ``WeightedSum`` computes, bit for bit, if nothing is wrong.

    Args:
        base: the base's weights of a chunk, [n].
        weights: float32 [k].
        frames: k float32 frames of the chunk, without checksums.
        length: entries of a whole chunk.

    Returns:
        The sum in the base's element type; ``None`` if a frame violates the format, or a weight is
        not finite: then ``WeightedSum`` says which.
    """
    batch = batch_of(frames, length, True)
    if batch is None:
        return None
    total = base.astype(np.float32)
    scratch = np.empty(2 * int(batch.nonzeros.max(initial=0)), np.uint32)
    row_at_fault = _add_frames(
        batch.table, weights, total.size, address_of(total), address_of(scratch),
        run_tables_address(),
    )  # fmt: skip
    if row_at_fault >= 0:
        raise_stopped()
        return None
    with np.errstate(over="ignore"):
        rounded = total.astype(base.dtype, copy=False)
    return rounded if np.isfinite(rounded).all() else None


@kernel
def _add_to(place: Any, entry: Any) -> None:
    store_32(place, pattern_of(float_of(load_32(place)) + float_of(entry)))


@kernel
def _add_frames(
    frames: Any, weights: Any, size: Any, totals: Any, scratch: Any, tables: Any
) -> Any:
    """Add weight times entry of float32 frames, one frame after the other.

    No frame can make this read or write elsewhere: positions ascend up to the extent, which is
    compared with the chunk's size before a total is touched.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        weights: float32 [rows].
        size: entries of the chunk that there are totals of.
        totals: their address, float32.
        scratch: address of memory for two uint32 for each non-zero of the largest frame.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec or reaches beyond ``size``, or −1.
    """
    for row in range(len(frames)):
        count, weight = frames[row, NONZEROS], weights[row]
        if frames[row, EXTENT] > size or decode_positions(frames, row, scratch, tables):
            return row
        if frames[row, VALUES] == SIGN:
            magnitude = sign_magnitude(frames, row)
            if magnitude == 0:
                return row
            entry = pattern_of(weight * float_of(magnitude))
            signs = _U(frames[row, VALUES_AT]) + _FOUR
            for index in range(count):
                place = totals + (_U(load_32(scratch + _U(4 * index))) << _TWO)
                sign = (_U32(load_8(signs + _U(index >> 3))) >> _U32(index & 7)) << _U32(31)
                _add_to(place, _U32(entry ^ _U32(sign)))
            continue
        patterns = scratch + _U(4 * count)
        if decode_patterns(frames, row, True, patterns, tables):
            return row
        for index in range(count):
            place = totals + (_U(load_32(scratch + _U(4 * index))) << _TWO)
            entry = pattern_of(weight * float_of(load_32(patterns + _U(4 * index))))
            _add_to(place, entry)
    return -1
