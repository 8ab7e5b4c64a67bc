"""Positions coded as blocks: a matrix in classes of rows and columns, runs in each block.

The chunk's matrix is marked in a bitmap, block after block; then the bitmap is listed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.bitmap import are_many, list_ones, only_between
from tvbank.coding.decoding.coder import (
    CLASSES,
    LEAST,
    RECIPROCAL,
    lines_of,
    read_block,
    read_classes,
    read_field,
    sort_lines,
)
from tvbank.coding.decoding.decoders import RUN_TABLES_AT
from tvbank.coding.decoding.memory import load_32, store_64
from tvbank.coding.densities import density_step
from tvbank.coding.faults import MASK_PARAMETER, MASK_SECTION, NON_CANONICAL, POSITION, VALID
from tvbank.coding.kernel import kernel
from tvbank.coding.rans import SLOTS, STATE_WORDS

_U = np.uint64
_ONE, _TWO, _FOUR, _SIXTEEN = _U(1), _U(2), _U(4), _U(16)


@kernel
def _rows_of(width: Any, extent: Any) -> Any:
    """The most rows that a chunk can have."""
    return (extent + 2 * width - 2) // width


@kernel
def bitmap_words(width: Any, extent: Any) -> Any:
    """64-bit words of the bitmap of a chunk, which begins with the row that entry 0 is in."""
    return (extent + 2 * width) // 64 + 1


@kernel
def blocks_words(width: Any, extent: Any) -> Any:
    """64-bit words that ``mark_blocks`` works in."""
    rows = _rows_of(width, extent)
    lines = 4 * (rows + 1) + 4 * (width + 1) + max(rows, width)
    return bitmap_words(width, extent) + lines // 8 + 1 + SLOTS // 2 + 2 * (CLASSES + 1)


@kernel
def mark_blocks(
    section: Any, size: Any, width: Any, extent: Any, count: Any, tables: Any, scratch: Any,
    weights: Any,
) -> Any:  # fmt: skip
    """Decode a section to a bitmap.

    Args:
        section: its address; ``TAIL_BYTES`` follow it.
        size: its bytes.
        width: the mask parameter, 16 to 65535.
        extent: entries up to the last non-zero, at least 1.
        count: number of non-zeros, at least 1.
        tables: what ``run_tables_address`` returns.
        scratch: address of ``blocks_words`` words; the first ``bitmap_words`` become the bitmap.
        weights: address of the chunk's float32 weights, whose cache lines at the positions are
            asked for, or None.

    Returns:
        (code, phase). If the code is 0, ``count`` bits are set, none before the phase, and bit
        phase + p stands for position p; the last one is bit phase + extent − 1.
    """
    if size % 2 or size < 2 * STATE_WORDS:
        return MASK_SECTION, _U(0)
    words, end, at = section, _U(size // 2), _U(STATE_WORDS)
    ones = scratch
    mapped = bitmap_words(width, extent)
    for index in range(mapped):
        store_64(ones + _U(8 * index), _U(0))
    first_rows = ones + _U(8 * mapped)
    first_columns = first_rows + _U(8 * (CLASSES + 1))
    table = first_columns + _U(8 * (CLASSES + 1))
    row_places = table + _U(4 * SLOTS)
    column_places = row_places + _U(4 * (_rows_of(width, extent) + 1))
    classes = column_places + _U(4 * (width + 1))
    u, x = _U(load_32(section)), _U(load_32(section + _U(4)))
    y, z = _U(load_32(section + _U(8))), _U(load_32(section + _U(12)))
    phase, u, at = read_field(u, _SIXTEEN, words, at)
    if at > end:
        return MASK_SECTION, phase
    heights, x, at = read_field(x, _FOUR, words, at)
    if at > end:
        return MASK_SECTION, phase
    widths, y, at = read_field(y, _FOUR, words, at)
    if at > end:
        return MASK_SECTION, phase
    if phase >= _U(width):
        return MASK_PARAMETER, phase
    x, y, z, u = z, u, x, y
    row_classes, column_classes = np.int64(heights) + 1, np.int64(widths) + 1
    rows = (np.int64(phase) + extent + width - 1) // width
    if row_classes > 1:
        x, y, z, u, at, shared = read_classes(
            x, y, z, u, at, end, words, row_classes, rows, table, classes
        )
        if at > end or not shared:
            return (MASK_SECTION if at > end else MASK_PARAMETER), phase
    sort_lines(classes, rows, row_classes, _U(width), first_rows, row_places)
    if column_classes > 1:
        x, y, z, u, at, shared = read_classes(
            x, y, z, u, at, end, words, column_classes, width, table, classes
        )
        if at > end or not shared:
            return (MASK_SECTION if at > end else MASK_PARAMETER), phase
    sort_lines(classes, width, column_classes, _ONE, first_columns, column_places)
    runs = tables + _U(RUN_TABLES_AT)
    lines = None if weights is None else weights - (phase << _TWO)
    total = _U(0)
    beyond = False
    for row_class in range(row_classes):
        for column_class in range(column_classes):
            row, height = lines_of(first_rows, row_class)
            column, breadth = lines_of(first_columns, column_class)
            cells = height * breadth
            bits = _U(0)
            while cells >> bits:
                bits += _ONE
            low, x, at = read_field(x, min(bits, _SIXTEEN), words, at)
            x, y, z, u = y, z, u, x
            if at > end:
                return MASK_SECTION, phase
            high = _U(0)
            if bits > _SIXTEEN:
                high, x, at = read_field(x, bits - _SIXTEEN, words, at)
                x, y, z, u = y, z, u, x
                if at > end:
                    return MASK_SECTION, phase
            here = low | (high << _SIXTEEN)
            if here == _U(0):
                continue
            total += here
            if here > cells:
                beyond = True  # the fault is named when the section has been read to its end
                here = cells
            number, unit = density_step(np.int64(here), np.int64(cells))
            block = (
                cells, breadth, (_ONE << RECIPROCAL) // breadth + _ONE,
                row_places + (row << _TWO), column_places + (column << _TWO),
            )  # fmt: skip
            x, y, z, u, at, after = read_block(
                x, y, z, u, at, end, words, runs + _U(4 * SLOTS * number), _U(unit), here, block,
                ones, lines,
            )  # fmt: skip
            if at > end:
                return MASK_SECTION, phase
            beyond |= after > cells
    if at != end:
        return MASK_SECTION, phase
    if x != LEAST or y != LEAST or z != LEAST or u != LEAST:
        return NON_CANONICAL, phase
    first = np.int64(phase)
    if beyond or total != _U(count) or not only_between(ones, mapped, first, first + extent - 1):
        return POSITION, phase
    return VALID, phase


def decode_blocks(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    """The decoder of ``blocks``; see ``decoders``."""
    scratch = np.empty(blocks_words(parameter, extent), np.uint64)
    ones = _U(scratch.ctypes.data)
    code, phase = mark_blocks(section, size, parameter, extent, count, tables, ones, None)
    if not code:
        list_ones(ones, 0, phase, 0, count, count, out, are_many(count, extent))
    return (
        1 + code + 0 * scratch.size
    )  # uses the array once more, so that numba keeps its memory until here
