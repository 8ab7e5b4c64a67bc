"""Rows of a table of frames, decoded to arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import load_32, store_32, store_64
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import decode_positions
from tvbank.coding.decoding.table import MASK, MASK_BYTES, NONZEROS, VALUES
from tvbank.coding.header import MASK_ENCODINGS, VALUE_ENCODINGS
from tvbank.coding.kernel import kernel

_U = np.uint64
_TWO = _U(2)
FULL: Final = MASK_ENCODINGS.index("full")
BASE_MAGNITUDES: Final = VALUE_ENCODINGS.index("base-magnitudes")


@kernel
def decode_frames(
    frames: Any, rows: Any, is_float: Any, positions: Any, patterns: Any, tables: Any
) -> Any:
    """Decode some rows of a table of frames, one after the other.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        rows: int64, which of them.
        is_float: whether the elements are float32; else they are int32.
        positions: address of memory for all their non-zeros, uint32: positions in each chunk.
        patterns: the same for the values.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec, or −1.
    """
    for row in rows:
        if decode_positions(frames, row, positions, tables):
            return row
        if decode_patterns(frames, row, is_float, patterns, tables):
            return row
        step = _U(4 * frames[row, NONZEROS])
        positions += step
        patterns += step
    return -1


@kernel
def decode_entries(
    frames: Any, first: Any, last: Any, ends: Any, offsets: Any, is_float: Any, positions: Any,
    patterns: Any, tables: Any,
) -> Any:  # fmt: skip
    """Decode some rows of a table of frames to their places in a sparse vector.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        first: the first row.
        last: the row after the last.
        ends: int64 [rows + 1]; row i has entries ends[i] .. ends[i + 1] − 1, its non-zeros.
        offsets: int64 [rows], added to each row's positions.
        is_float: whether the elements are float32; else they are int32.
        positions: address of all rows' positions, int64, overwritten.
        patterns: address of all rows' values, uint32, overwritten.
        tables: what ``run_tables_address`` returns.

    Returns:
        (the first row that violates the spec, its code), or (−1, 0).
    """
    for row in range(first, last):
        count = frames[row, NONZEROS]
        wide = positions + _U(8 * ends[row])
        # Decoded as uint32 to the upper half of the row's int64 memory, then widened from the
        # front: each is read before it is overwritten.
        narrow = wide + _U(4 * count)
        code = decode_positions(frames, row, narrow, tables)
        if not code:
            at = patterns + _U(4 * ends[row])
            code = decode_patterns(frames, row, is_float, at, tables)
        if code:
            return row, code
        for index in range(count):
            position = np.int64(load_32(narrow + _U(4 * index))) + offsets[row]
            store_64(wide + _U(8 * index), _U(position))
    return -1, 0


@kernel
def decode_dense(
    frames: Any, first: Any, last: Any, offsets: Any, is_float: Any, dense: Any, scratch: Any,
    tables: Any,
) -> Any:  # fmt: skip
    """Decode some rows of a table of frames to their places in a dense vector of zeros.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        first: the first row.
        last: the row after the last.
        offsets: int64 [rows], where each row's chunk begins in the vector, which has at least
            the row's ``EXTENT`` of entries from there on.
        is_float: whether the elements are float32; else they are int32.
        dense: address of the vector, of 32-bit elements.
        scratch: address of memory for two uint32 for each non-zero of the largest row.
        tables: what ``run_tables_address`` returns.

    Returns:
        (the first row that violates the spec, its code), or (−1, 0).
    """
    for row in range(first, last):
        count = frames[row, NONZEROS]
        chunk = dense + _U(4 * offsets[row])
        full = frames[row, MASK] == FULL and frames[row, MASK_BYTES] == 0
        full &= (
            frames[row, VALUES] != BASE_MAGNITUDES
        )  # the values of these frames cannot be decoded without positions
        code = 0 if full else decode_positions(frames, row, scratch, tables)
        patterns = chunk if full else scratch + _U(4 * count)
        if not code:
            code = decode_patterns(frames, row, is_float, patterns, tables)
        if code:
            return row, code
        if not full:
            for index in range(count):
                place = _U(load_32(scratch + _U(4 * index))) << _TWO
                store_32(chunk + place, load_32(patterns + _U(4 * index)))
    return -1, 0
