"""Frames decoded to arrays, for weights that the fused loops cannot reach."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.fused.patterns import decode_patterns
from tvbank.coding.fused.positions import decode_positions
from tvbank.coding.fused.table import NONZEROS
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
