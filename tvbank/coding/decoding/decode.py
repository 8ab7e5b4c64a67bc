"""Frames decoded to arrays, for weights that the fused loops cannot reach, and for who asks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import load_32, store_64
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import decode_positions
from tvbank.coding.decoding.table import NONZEROS
from tvbank.coding.kernel import kernel


@kernel
def decode_frames(
    frames: Any, rows: Any, is_float: Any, positions: Any, patterns: Any, tables: Any
) -> Any:
    """Decode some rows of a table of frames, one behind the other.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        rows: int64, which of them.
        is_float: whether the elements are float32; else they are int32.
        positions: address of room for all their non-zeros, uint32: positions within each chunk.
        patterns: the same for the values.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec, or −1.
    """
    for row in rows:
        valid = decode_positions(frames, row, positions, tables)
        if not (valid and decode_patterns(frames, row, is_float, patterns)):
            return row
        step = np.uint64(4 * frames[row, NONZEROS])
        positions += step
        patterns += step
    return -1


@kernel
def decode_entries(
    frames: Any, first: Any, last: Any, ends: Any, offsets: Any, is_float: Any, positions: Any,
    patterns: Any, tables: Any,
) -> Any:  # fmt: skip
    """Decode some rows of a table of frames to where each has its place.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        first: the first row.
        last: the row behind the last.
        ends: int64 [rows + 1]; row i has entries ends[i] .. ends[i + 1] − 1, its non-zeros.
        offsets: int64 [rows], added to each row's positions.
        is_float: whether the elements are float32; else they are int32.
        positions: address of all rows' positions, int64, overwritten.
        patterns: address of all rows' values, uint32, overwritten.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec, or −1.
    """
    for row in range(first, last):
        count = frames[row, NONZEROS]
        wide = positions + np.uint64(8 * ends[row])
        # In the upper half of their room, from which they are taken before they are overwritten.
        narrow = wide + np.uint64(4 * count)
        valid = decode_positions(frames, row, narrow, tables)
        if not (
            valid and decode_patterns(frames, row, is_float, patterns + np.uint64(4 * ends[row]))
        ):
            return row
        for index in range(count):
            position = np.int64(load_32(narrow + np.uint64(4 * index))) + offsets[row]
            store_64(wide + np.uint64(8 * index), np.uint64(position))
    return -1
