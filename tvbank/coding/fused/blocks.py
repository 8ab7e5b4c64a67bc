"""Positions coded as blocks, four symbols at a time.

The same section as ``masks.blocks`` reads, and the same verdict on it. Symbols of the usual blocks,
those without plain bits, are read one from each state in turn, without a branch: an escape stores
a cell like any other symbol, but the next symbol then stores over it. Then all cells of a block
are marked in a bitmap, and at the end the bitmap is listed, again nearly without branches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.densities import ESCAPE, density_step
from tvbank.coding.fused.memory import inlined, load_16, load_32, store_32
from tvbank.coding.kernel import kernel, ones_in, trailing_zeros
from tvbank.coding.masks.blocks import _read_classes as read_classes
from tvbank.coding.masks.blocks import _sort_lines as sort_lines
from tvbank.coding.rans import FIRST_STATE, SLOT_BITS, SLOTS, STATE_WORDS, read_field, read_state

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _FOUR, _SIX, _SIXTEEN = _U(1), _U(2), _U(4), _U(6), _U(16)
_LOW_SIX = _U(63)
_ESCAPE, _RUN = _U(ESCAPE), _U(ESCAPE - 1)
_ESCAPE_AT, _FREQUENCY_AT, _FREQUENCY_MASK, _RANK_AT = _U(7), _U(8), _U(0x7FF), _U(19)
_SLOT_BITS, _SLOT_MASK, _LEAST = _U(SLOT_BITS), _U(SLOTS - 1), _U(FIRST_STATE)
#: A quotient of numbers below 2^25 and 2^16 is exact as a product with ceil(2^41 / divisor).
_RECIPROCAL = _U(41)


@inlined
def _read(state: Any, table: Any, words: Any, at: Any) -> Any:
    """One symbol: (the table's entry, state, next word); one word may be read, needed or not."""
    entry = _U(load_32(table + ((state & _SLOT_MASK) << _TWO)))
    frequency = (entry >> _FREQUENCY_AT) & _FREQUENCY_MASK
    state = frequency * (state >> _SLOT_BITS) + (entry >> _RANK_AT)
    low = state < _LEAST
    word = _U(load_16(words + (at << _ONE)))
    state = (state << _SIXTEEN) | word if low else state
    return entry, state, at + _U(low)


@kernel
def _read_cells(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, table: Any, unit: Any,
    count: Any, out: Any,
) -> Any:  # fmt: skip
    """Read the cells of a block.

    Args:
        x: the state whose turn it is.
        y: the next one's.
        z: the next one's.
        u: the last one's.
        at: the next word, at most ``end``.
        end: number of words; one more can be read.
        words: address of the words, uint16.
        table: address of the block's table, uint32 [1024].
        unit: plain bits of a run.
        count: number of cells, int64.
        out: address of as many uint32.

    Returns:
        (x, y, z, u, next word, cell behind the last): the next word exceeds ``end`` if the words
        do not suffice. Cells that exceed 32 bits are stored modulo 2^32.
    """
    done = cell = _U(0)
    whole = _U(count)
    while unit == _U(0) and done + _FOUR <= whole and at + _FOUR <= end:
        entry, x, at = _read(x, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        store_32(out + (done << _TWO), _U32(cell))
        done += kept
        cell += kept
        entry, y, at = _read(y, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        store_32(out + (done << _TWO), _U32(cell))
        done += kept
        cell += kept
        entry, z, at = _read(z, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        store_32(out + (done << _TWO), _U32(cell))
        done += kept
        cell += kept
        entry, u, at = _read(u, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        store_32(out + (done << _TWO), _U32(cell))
        done += kept
        cell += kept
    while done < whole and at <= end:
        entry, x, at = _read(x, table, words, at)
        x, y, z, u = y, z, u, x
        cell += (entry & _RUN) << unit
        if not entry & _ESCAPE and at <= end:
            if unit:
                rest = x & ((_ONE << unit) - _ONE)
                x >>= unit
                if x < _LEAST:
                    x = (x << _SIXTEEN) | _U(load_16(words + (at << _ONE)))
                    at += _ONE
                x, y, z, u = y, z, u, x
                cell += rest
            store_32(out + (done << _TWO), _U32(cell))
            done += _ONE
            cell += _ONE
    return x, y, z, u, at, cell


@kernel
def _mark(
    ones: Any, cells: Any, count: Any, breadth: Any, row_places: Any, first_row: Any,
    column_places: Any, first_column: Any,
) -> None:  # fmt: skip
    """Set the bits of a block's cells, uint32 at an address, all of them within the block."""
    divisor = _U(breadth)
    reciprocal = (_ONE << _RECIPROCAL) // divisor + _ONE
    for index in range(count):
        cell = _U(load_32(cells + _U(4 * index)))
        row = (cell * reciprocal) >> _RECIPROCAL
        column = cell - row * divisor
        place = _U(row_places[_U(first_row) + row]) + _U(column_places[_U(first_column) + column])
        ones[place >> _SIX] |= _ONE << (place & _LOW_SIX)


@kernel
def _list(ones: Any, phase: Any, count: Any, out: Any) -> None:
    """List the ``count`` 1 bits of a bitmap as uint32 at an address, less ``phase``, modulo 2^32.

    Words with up to eight take eight steps, whose surplus the next word stores over.
    """
    found = np.int64(0)
    for index in range(ones.size):
        word = ones[index]
        if word:
            base = _U(64 * index) - phase
            here = np.int64(ones_in(word))
            at = out + _U(4 * found)
            if here <= 8 and found + 8 <= count:
                for lane in range(8):
                    store_32(at + _U(4 * lane), _U32(base + trailing_zeros(word)))
                    word &= word - _ONE
            else:
                for lane in range(here):
                    store_32(at + _U(4 * lane), _U32(base + trailing_zeros(word)))
                    word &= word - _ONE
            found += here


@kernel
def decode_blocks(
    section: Any, size: Any, width: Any, extent: Any, positions: Any, out: Any, tables: Any
) -> Any:
    """Decode a section to positions and check it.

    Args:
        section: its address; ``TAIL_BYTES`` follow it.
        size: its bytes.
        width: the mask parameter.
        extent: entries up to the last non-zero.
        positions: uint32 [m > 0], overwritten.
        out: the address of ``positions``.
        tables: address of what ``run_tables`` returns.

    Returns:
        Whether the section is valid; else the positions mean nothing.
    """
    if size % 2 or size < 2 * STATE_WORDS:
        return False
    words = np.empty(size // 2 + 1, np.uint16)
    for index in range(words.size):
        words[index] = load_16(section + _U(2 * index))
    end, at = _U(size // 2), _U(STATE_WORDS)
    states = np.empty(4, np.uint64)
    for number in range(4):
        states[number] = read_state(words, number)
    phase, x, at = read_field(states[0], _SIXTEEN, words, at)
    if at > end:
        return False
    heights, y, at = read_field(states[1], _FOUR, words, at)
    if at > end:
        return False
    widths, z, at = read_field(states[2], _FOUR, words, at)
    offset = np.int64(phase)
    if at > end or offset >= width:
        return False
    states[0], states[1], states[2], states[3] = states[3], x, y, z
    row_classes, column_classes = np.int64(heights) + 1, np.int64(widths) + 1
    rows = (offset + extent + width - 1) // width
    classes_of_rows, classes_of_columns = np.zeros(rows, np.uint8), np.zeros(width, np.uint8)
    if row_classes > 1:
        wrong, at = read_classes(states, words, at, end, row_classes, classes_of_rows)
        if wrong:
            return False
    if column_classes > 1:
        wrong, at = read_classes(states, words, at, end, column_classes, classes_of_columns)
        if wrong:
            return False
    first_row = np.zeros(row_classes + 1, np.int64)
    first_column = np.zeros(column_classes + 1, np.int64)
    row_places, column_places = np.empty(rows, np.uint32), np.empty(width, np.uint32)
    sort_lines(classes_of_rows, row_classes, width, first_row, row_places)
    sort_lines(classes_of_columns, column_classes, 1, first_column, column_places)
    ones = np.zeros((extent + 2 * width) // 64 + 1, np.uint64)
    x, y, z, u = states[0], states[1], states[2], states[3]
    total = np.int64(0)
    for row_class in range(row_classes):
        for column_class in range(column_classes):
            breadth = first_column[column_class + 1] - first_column[column_class]
            cells = (first_row[row_class + 1] - first_row[row_class]) * breadth
            bits = _U(0)
            while _U(cells) >> bits:
                bits += _ONE
            low, x, at = read_field(x, min(bits, _SIXTEEN), words, at)
            x, y, z, u = y, z, u, x
            if at > end:
                return False
            high = _U(0)
            if bits > _SIXTEEN:
                high, x, at = read_field(x, bits - _SIXTEEN, words, at)
                x, y, z, u = y, z, u, x
                if at > end:
                    return False
            count = np.int64(low | (high << _SIXTEEN))
            if count == 0:
                continue
            if count > cells or total + count > positions.size:
                return False
            table, unit = density_step(count, cells)
            found = out + _U(4 * total)
            x, y, z, u, at, behind = _read_cells(
                x, y, z, u, at, end, _U(words.ctypes.data), tables + _U(4 * SLOTS * table),
                _U(unit), count, found,
            )  # fmt: skip
            if at > end or behind > _U(cells):
                return False
            _mark(
                ones, found, count, breadth, row_places, first_row[row_class], column_places,
                first_column[column_class],
            )  # fmt: skip
            total += count
    if at != end or x != _LEAST or y != _LEAST or z != _LEAST or u != _LEAST:
        return False
    if total != positions.size:
        return False
    _list(ones, phase, total, out)
    # A bit before the phase is a position near 2^32.
    return positions[0] < extent and positions[total - 1] == extent - 1
