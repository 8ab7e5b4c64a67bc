"""Mask encoding 8, ``blocks``: a matrix cut into blocks of equal density, entropy coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.blocks import decode_blocks as decode_quickly
from tvbank.coding.densities import ESCAPE, density_step, run_tables
from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import kernel
from tvbank.coding.masks._mask import Mask, list_ones
from tvbank.coding.rans import (
    FIRST_STATE,
    SLOT_BITS,
    SLOTS,
    STATE_WORDS,
    fill_table,
    read_field,
    read_state,
    read_symbol,
)
from tvbank.coding.rice import padded

_ONE, _SIX, _SIXTEEN = np.uint64(1), np.uint64(6), np.uint64(16)
_LOW_SIX = np.uint64(63)
_ESCAPE, _RUN = np.uint64(ESCAPE), np.uint64(ESCAPE - 1)
#: A quotient of numbers below 2^25 and 2^16 is exact as a product with ceil(2^41 / divisor).
_RECIPROCAL = np.uint64(41)
#: Faults that ``decode_blocks`` and ``list_blocks`` return.
WHOLE, SHORT, PARAMETER, LONG, STATES, POSITION = range(6)


@kernel
def _read_classes(states: Any, words: Any, at: Any, end: Any, count: Any, classes: Any) -> Any:
    """Read the class of every line; returns (fault or 0, next word)."""
    x, y, z, u = states[0], states[1], states[2], states[3]
    table = np.zeros(SLOTS, np.uint32)
    start: Any = 0
    for number in range(count):
        frequency = np.uint64(SLOTS - start)
        if number < count - 1:
            frequency, x, at = read_field(x, np.uint64(SLOT_BITS), words, at)
            x, y, z, u = y, z, u, x
        if at > end:
            return SHORT, at
        size = np.int64(frequency)
        if size == 0 or start + size > SLOTS:
            return PARAMETER, at
        fill_table(table, 0, start, size, number)
        start += size
    for line in range(classes.size):
        each, x, at = read_symbol(x, table, np.uint64(0), words, at)
        x, y, z, u = y, z, u, x
        if at > end:
            return SHORT, at
        classes[line] = each
    states[0], states[1], states[2], states[3] = x, y, z, u
    return WHOLE, at


@kernel
def _sort_lines(classes: Any, count: Any, step: Any, first: Any, places: Any) -> None:
    """List ``step`` · line by class; class c takes entries first[c] .. first[c + 1] − 1."""
    for each in classes:
        first[each + 1] += 1
    for number in range(count):
        first[number + 1] += first[number]
    used = first.copy()
    for line in range(classes.size):
        places[used[classes[line]]] = np.uint32(line * step)
        used[classes[line]] += 1


@kernel
def decode_blocks(words: Any, size: Any, width: Any, extent: Any, tables: Any, ones: Any) -> Any:
    """Decode a section to a bitmap of the matrix.

    Args:
        words: uint16, the section and at least one word more, whose value does not matter.
        size: words of the section, at least 8.
        width: the mask parameter.
        extent: entries up to the last non-zero.
        tables: uint32, as ``run_tables`` returns them.
        ones: uint64 of at least ceil((extent + 2 · width) / 64) zeros; bit ``phase`` + i is set
            where entry i is a non-zero.

    Returns:
        (fault or 0, phase, number of ones).
    """
    end = np.uint64(size)
    at = np.uint64(STATE_WORDS)
    states = np.empty(4, np.uint64)
    for number in range(4):
        states[number] = read_state(words, number)
    fields = np.empty(3, np.uint64)
    for number in range(3):
        bits = _SIXTEEN if number == 0 else np.uint64(4)
        fields[number], states[number], at = read_field(states[number], bits, words, at)
        if at > end:
            return SHORT, 0, 0
    phase, heights, widths = fields[0], fields[1], fields[2]
    states[0], states[1], states[2], states[3] = states[3], states[0], states[1], states[2]
    offset = np.int64(phase)
    if offset >= width:
        return PARAMETER, 0, 0
    row_classes, column_classes = np.int64(heights) + 1, np.int64(widths) + 1
    rows = (offset + extent + width - 1) // width
    classes_of_rows = np.zeros(rows, np.uint8)
    classes_of_columns = np.zeros(width, np.uint8)
    if row_classes > 1:
        wrong, at = _read_classes(states, words, at, end, row_classes, classes_of_rows)
        if wrong:
            return wrong, 0, 0
    if column_classes > 1:
        wrong, at = _read_classes(states, words, at, end, column_classes, classes_of_columns)
        if wrong:
            return wrong, 0, 0
    first_row = np.zeros(row_classes + 1, np.int64)
    first_column = np.zeros(column_classes + 1, np.int64)
    row_places = np.empty(rows, np.uint32)
    column_places = np.empty(width, np.uint32)
    _sort_lines(classes_of_rows, row_classes, width, first_row, row_places)
    _sort_lines(classes_of_columns, column_classes, 1, first_column, column_places)
    x, y, z, u = states[0], states[1], states[2], states[3]
    total = np.int64(0)
    beyond = False
    for row_class in range(row_classes):
        for column_class in range(column_classes):
            height = first_row[row_class + 1] - first_row[row_class]
            breadth = first_column[column_class + 1] - first_column[column_class]
            cells = np.uint64(height * breadth)
            low, high = np.uint64(0), np.uint64(0)
            bits = np.uint64(0)
            while cells >> bits:
                bits += _ONE
            low, x, at = read_field(x, min(bits, _SIXTEEN), words, at)
            x, y, z, u = y, z, u, x
            if at > end:
                return SHORT, 0, 0
            if bits > _SIXTEEN:
                high, x, at = read_field(x, bits - _SIXTEEN, words, at)
                x, y, z, u = y, z, u, x
                if at > end:
                    return SHORT, 0, 0
            count = low | (high << _SIXTEEN)
            if count == np.uint64(0):
                continue
            total += np.int64(count)
            if count > cells:
                beyond = True
                count = cells
            table, unit_bits = density_step(np.int64(count), np.int64(cells))
            first_slot = np.uint64(table * SLOTS)
            unit = np.uint64(unit_bits)
            first_of_rows = np.uint64(first_row[row_class])
            first_of_columns = np.uint64(first_column[column_class])
            divisor = np.uint64(breadth)
            reciprocal = (_ONE << _RECIPROCAL) // divisor + _ONE
            cell = np.uint64(0)
            for _ in range(np.int64(count)):
                symbol, x, at = read_symbol(x, tables, first_slot, words, at)
                x, y, z, u = y, z, u, x
                cell += (symbol & _RUN) << unit
                if at > end:
                    return SHORT, 0, 0
                while symbol & _ESCAPE:
                    symbol, x, at = read_symbol(x, tables, first_slot, words, at)
                    x, y, z, u = y, z, u, x
                    cell += (symbol & _RUN) << unit
                    if at > end:
                        return SHORT, 0, 0
                if unit:
                    rest, x, at = read_field(x, unit, words, at)
                    x, y, z, u = y, z, u, x
                    cell += rest
                    if at > end:
                        return SHORT, 0, 0
                if cell < cells:
                    row = (cell * reciprocal) >> _RECIPROCAL
                    place = np.uint64(row_places[first_of_rows + row]) + np.uint64(
                        column_places[first_of_columns + cell - row * divisor]
                    )
                    ones[place >> _SIX] |= _ONE << (place & _LOW_SIX)
                else:
                    beyond = True
                cell += _ONE
    if at < end:
        return LONG, 0, 0
    least = np.uint64(FIRST_STATE)
    if x != least or y != least or z != least or u != least:
        return STATES, 0, 0
    return (POSITION if beyond else WHOLE), offset, total


@kernel
def list_blocks(words: Any, size: Any, width: Any, extent: Any, tables: Any, positions: Any) -> Any:
    """Decode a section to positions.

    Args:
        words: uint16, the section and at least one word more, whose value does not matter.
        size: words of the section, at least 8.
        width: the mask parameter.
        extent: entries up to the last non-zero.
        tables: uint32, as ``run_tables`` returns them.
        positions: uint32 [m > 0], overwritten.

    Returns:
        0 if the section is valid, else the fault: then the positions mean nothing.
    """
    ones = np.zeros((extent + 2 * width) // 64 + 1, np.uint64)
    wrong, phase, count = decode_blocks(words, size, width, extent, tables, ones)
    if wrong:
        return wrong
    if count != positions.size:
        return POSITION
    list_ones(ones, positions)
    if positions[0] < phase or positions[positions.size - 1] != phase + extent - 1:
        return POSITION
    for index in range(positions.size):
        positions[index] -= np.uint32(phase)
    return WHOLE


_REASONS = {
    SHORT: ("mask-section", "the section ends within its symbols"),
    PARAMETER: ("mask-parameter", "a phase or a frequency out of range"),
    LONG: ("mask-section", "words are left over behind the last symbol"),
    STATES: ("non-canonical", "the states do not end where an encoder starts"),
    POSITION: ("position", "blocks do not hold the extent's non-zeros, and all of them"),
}


@final
class Blocks(Encoding[Mask]):
    """Classes of rows and of columns, runs in each block; the parameter is the length of a row."""

    id = 8
    name = "blocks"
    least_bytes = 2 * STATE_WORDS + 2

    def parameters(self, mask: Mask) -> Sequence[int]:
        """The length of a row, for a chunk with a non-zero."""
        return (mask.matrix[0],) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: those of the states and words; only encoding tells."""
        return mask.blocks.size

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """States and words."""
        return mask.blocks

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: mask-section, mask-parameter, non-canonical, position."""
        size, odd = divmod(len(section), 2)
        if odd or size < STATE_WORDS:
            raise fault("mask-section", f"{len(section)} bytes are no words of blocks")
        positions = np.empty(header.nonzeros, np.uint32)
        data, tables, width = padded(section), run_tables(), header.mask_parameter
        # What is valid is decoded by the quicker loop, which does not say what is wrong.
        if decode_quickly(
            _address(data), len(section), width, header.extent, header.nonzeros,
            _address(positions), _address(tables),
        ):  # fmt: skip
            return positions
        words = data.view(np.uint16)
        wrong = list_blocks(words, size, width, header.extent, tables, positions)
        if wrong:
            raise fault(*_REASONS[wrong])
        return positions


def _address(array: NDArray[Any]) -> np.uint64:
    return np.uint64(array.__array_interface__["data"][0])
