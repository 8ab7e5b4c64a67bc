"""Several tasks' entries of a chunk, added to totals in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import float_of, load_8, load_32, pattern_of, store_32
from tvbank.coding.decoding.patterns import SIGN, decode_patterns, sign_magnitude
from tvbank.coding.decoding.positions import decode_positions
from tvbank.coding.decoding.table import EXTENT, NONZEROS, VALUES, VALUES_AT
from tvbank.coding.kernel import kernel

_U, _U32 = np.uint64, np.uint32
_TWO, _FOUR = _U(2), _U(4)
#: Words of working memory for each non-zero of the largest frame.
ADD_ROOM = 2


@kernel
def _add_to(place: Any, entry: Any) -> None:
    store_32(place, pattern_of(float_of(load_32(place)) + float_of(entry)))


@kernel
def add_frames(frames: Any, weights: Any, size: Any, totals: Any, scratch: Any, tables: Any) -> Any:
    """Add weight times entry of float32 frames, one frame after the other.

    No frame can make this read or write elsewhere: positions ascend up to the extent, which is
    compared with the chunk's size before a total is touched.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        weights: float32 [rows].
        size: entries of the chunk that there are totals of.
        totals: their address, float32.
        scratch: address of room for ``ADD_ROOM`` uint32 for each non-zero of the largest frame.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec or reaches beyond ``size``, or −1.
    """
    for row in range(len(frames)):
        count, weight = frames[row, NONZEROS], weights[row]
        if frames[row, EXTENT] > size or not decode_positions(frames, row, scratch, tables):
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
        if not decode_patterns(frames, row, True, patterns):
            return row
        for index in range(count):
            place = totals + (_U(load_32(scratch + _U(4 * index))) << _TWO)
            entry = pattern_of(weight * float_of(load_32(patterns + _U(4 * index))))
            _add_to(place, entry)
    return -1
