"""Positions coded as blocks, four symbols at a time.

The same section as ``masks.blocks`` reads, and the same verdict on it. Symbols of the usual blocks,
those without plain bits, are read one from each state in turn, without a branch: an escape marks
nothing, like a one that is shifted out. A cell is marked in a bitmap at once, while the
processor waits for the states; at the end the bitmap is listed, again nearly without branches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.densities import ESCAPE, density_step
from tvbank.coding.fused.memory import (
    inlined,
    load_8,
    load_16,
    load_32,
    load_64,
    store_8,
    store_32,
    store_64,
)
from tvbank.coding.kernel import kernel, ones_in, trailing_zeros
from tvbank.coding.rans import FIRST_STATE, SLOT_BITS, SLOTS, STATE_WORDS

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _THREE, _FOUR, _SIX, _SIXTEEN = _U(1), _U(2), _U(3), _U(4), _U(6), _U(16)
_LOW_THREE = _U(7)
_ESCAPE, _RUN = _U(ESCAPE), _U(ESCAPE - 1)
_SYMBOL, _ESCAPE_AT = _U(0xFF), _U(7)
_FREQUENCY_AT, _FREQUENCY_MASK, _RANK_AT = _U(8), _U(0x7FF), _U(19)
_SLOT_BITS, _SLOT_MASK, _LEAST = _U(SLOT_BITS), _U(SLOTS - 1), _U(FIRST_STATE)
#: A quotient of numbers below 2^25 and 2^16 is exact as a product with ceil(2^41 / divisor).
_RECIPROCAL = _U(41)
#: Most classes of rows, or of columns.
_CLASSES = 16


@inlined
def _refill(state: Any, words: Any, at: Any) -> Any:
    """(state, next word); one word may be read, needed or not."""
    word = _U(load_16(words + (at << _ONE)))
    low = state < _LEAST
    return (state << _SIXTEEN) | word if low else state, at + _U(low)


@inlined
def _read(state: Any, table: Any, words: Any, at: Any) -> Any:
    """One symbol: (the table's entry, state, next word)."""
    entry = _U(load_32(table + ((state & _SLOT_MASK) << _TWO)))
    frequency = (entry >> _FREQUENCY_AT) & _FREQUENCY_MASK
    state = frequency * (state >> _SLOT_BITS) + (entry >> _RANK_AT)
    state, at = _refill(state, words, at)
    return entry, state, at


@inlined
def _read_field(state: Any, bits: Any, words: Any, at: Any) -> Any:
    """A plain field of 0 to 16 bits: (field, state, next word)."""
    field = state & ((_ONE << bits) - _ONE)
    state, at = _refill(state >> bits, words, at)
    return field, state, at


@inlined
def _mark(cell: Any, kept: Any, block: Any, ones: Any) -> Any:
    """Set the bit of a cell of a block if ``kept`` is 1; of a cell behind the last, any bit."""
    cells, divisor, reciprocal, rows, columns = block
    inside = min(cell, cells)
    row = (inside * reciprocal) >> _RECIPROCAL
    column = inside - row * divisor
    place = _U(load_32(rows + (row << _TWO))) + _U(load_32(columns + (column << _TWO)))
    at = ones + (place >> _THREE)
    store_8(at, np.uint8(_U(load_8(at)) | (kept << (place & _LOW_THREE))))


@kernel
def _read_block(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, table: Any, unit: Any,
    count: Any, block: Any, ones: Any,
) -> Any:  # fmt: skip
    """Read the cells of a block and mark them.

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
        count: number of non-zeros, uint64.
        block: a tuple of uint64: number of cells, 1 at least; cells of a row; ceil(2^41 / that);
            addresses of uint32, where the block's rows and one more begin in the bitmap, and where
            its columns are in a row.
        ones: address of the bitmap.

    Returns:
        (x, y, z, u, next word, cell behind the last): the next word exceeds ``end`` if the words
        do not suffice.
    """
    done = cell = _U(0)
    while unit == _U(0) and done + _FOUR <= count and at + _FOUR <= end:
        entry, x, at = _read(x, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        _mark(cell, kept, block, ones)
        done += kept
        cell += kept
        entry, y, at = _read(y, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        _mark(cell, kept, block, ones)
        done += kept
        cell += kept
        entry, z, at = _read(z, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        _mark(cell, kept, block, ones)
        done += kept
        cell += kept
        entry, u, at = _read(u, table, words, at)
        kept = ~(entry >> _ESCAPE_AT) & _ONE
        cell += entry & _RUN
        _mark(cell, kept, block, ones)
        done += kept
        cell += kept
    while done < count and at <= end:
        entry, x, at = _read(x, table, words, at)
        x, y, z, u = y, z, u, x
        cell += (entry & _RUN) << unit
        if not entry & _ESCAPE and at <= end:
            if unit:
                rest, x, at = _read_field(x, unit, words, at)
                x, y, z, u = y, z, u, x
                cell += rest
            _mark(cell, _ONE, block, ones)
            done += _ONE
            cell += _ONE
    return x, y, z, u, at, cell


@kernel
def _read_classes(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, count: Any, lines: Any,
    table: Any, classes: Any,
) -> Any:  # fmt: skip
    """Read the class of each of some lines.

    Args:
        x: as the other states and ``at``, ``end``, ``words``: see ``_read_block``.
        y: a state.
        z: a state.
        u: a state.
        at: the next word.
        end: number of words.
        words: their address.
        count: number of classes, int64 from 2.
        lines: their number, int64.
        table: address of room for a table.
        classes: address of as many bytes as there are lines; overwritten.

    Returns:
        (x, y, z, u, next word, whether the classes share the slots): the next word exceeds ``end``
        if the words do not suffice.
    """
    start = _U(0)
    for number in range(count):
        frequency = _U(SLOTS) - start
        if number < count - 1:
            frequency, x, at = _read_field(x, _SLOT_BITS, words, at)
            x, y, z, u = y, z, u, x
        if at > end or frequency == _U(0) or start + frequency > _U(SLOTS):
            return x, y, z, u, at, False
        entry = _U(number) | (frequency << _FREQUENCY_AT)
        for rank in range(frequency):
            store_32(table + ((start + _U(rank)) << _TWO), _U32(entry | (_U(rank) << _RANK_AT)))
        start += frequency
    line = _U(0)
    behind = _U(lines)
    while line + _FOUR <= behind and at + _FOUR <= end:
        first, x, at = _read(x, table, words, at)
        second, y, at = _read(y, table, words, at)
        third, z, at = _read(z, table, words, at)
        fourth, u, at = _read(u, table, words, at)
        four = (first & _SYMBOL) | ((second & _SYMBOL) << _U(8))
        four |= ((third & _SYMBOL) << _U(16)) | ((fourth & _SYMBOL) << _U(24))
        store_32(classes + line, _U32(four))
        line += _FOUR
    while line < behind and at <= end:
        first, x, at = _read(x, table, words, at)
        x, y, z, u = y, z, u, x
        store_8(classes + line, np.uint8(first & _SYMBOL))
        line += _ONE
    return x, y, z, u, at, True


@kernel
def _sort_lines(classes: Any, lines: Any, count: Any, step: Any, firsts: Any, places: Any) -> None:
    """List ``step`` · line, by class.

    Args:
        classes: address of each line's class, uint8 below ``count``.
        lines: their number, int64.
        count: number of classes; of one class ``classes`` is not read.
        step: uint64.
        firsts: address of 17 uint64; class c takes entries firsts[c] .. firsts[c + 1] − 1.
        places: address of as many uint32 as there are lines, and one more, which becomes 0.
    """
    store_32(places + _U(4 * lines), _U32(0))
    store_64(firsts, _U(0))
    if count == 1:
        store_64(firsts + _U(8), _U(lines))
        for line in range(lines):
            store_32(places + _U(4 * line), _U32(_U(line) * step))
        return
    next_one = _U(0)
    for each in range(count):
        for line in range(lines):
            store_32(places + (next_one << _TWO), _U32(_U(line) * step))
            next_one += _U(load_8(classes + _U(line)) == each)
        store_64(firsts + _U(8 * (each + 1)), next_one)
    store_32(places + _U(4 * lines), _U32(0))


@kernel
def are_many(count: Any, extent: Any) -> Any:
    """Whether words of 64 bits often have more than four ones."""
    return 32 * count > extent


@kernel
def list_ones(
    ones: Any, word_at: Any, phase: Any, found: Any, wanted: Any, count: Any, out: Any, many: Any
) -> Any:
    """List the 1 bits of a bitmap, word by word, until there are enough.

    Every word takes a fixed number of steps, whose surplus the next word stores over, and more if
    it has more ones: that should be rare.

    Args:
        ones: address of the bitmap.
        word_at: the word to begin with, int64.
        phase: uint64, subtracted from the numbers of bits, modulo 2^32.
        found: ones that have been listed before, int64.
        wanted: how many are to be listed at least, at most ``count``.
        count: number of all ones.
        out: address of ``count`` uint32.
        many: whether to take eight steps instead of four.

    Returns:
        (the word to go on with, ones listed).
    """
    while found < wanted:
        word = load_64(ones + _U(8 * word_at))
        if not word:
            word_at += 1
            continue
        base = _U(64 * word_at) - phase
        here = np.int64(ones_in(word))
        at = out + _U(4 * found)
        if found + 8 <= count:
            for lane in range(4):
                store_32(at + _U(4 * lane), _U32(base + trailing_zeros(word)))
                word &= word - _ONE
            at += _SIXTEEN
            if many:
                for lane in range(4):
                    store_32(at + _U(4 * lane), _U32(base + trailing_zeros(word)))
                    word &= word - _ONE
                at += _SIXTEEN
        while word:
            store_32(at, _U32(base + trailing_zeros(word)))
            word &= word - _ONE
            at += _FOUR
        found += here
        word_at += 1
    return word_at, found


@kernel
def _only_between(ones: Any, words: Any, first: Any, last: Any) -> Any:
    """Whether no bit of a bitmap before ``first`` or behind ``last`` is 1, and ``last`` is."""
    for index in range(first >> 6):
        if load_64(ones + _U(8 * index)):
            return False
    if load_64(ones + _U(8 * (first >> 6))) & ((_ONE << _U(first & 63)) - _ONE):
        return False
    if load_64(ones + _U(8 * (last >> 6))) >> _U(last & 63) != _ONE:
        return False
    rest = _U(0)
    for index in range((last >> 6) + 1, words):
        rest |= load_64(ones + _U(8 * index))
    return rest == _U(0)


@kernel
def _rows_of(width: Any, extent: Any) -> Any:
    """The most rows that a chunk can have."""
    return (extent + 2 * width - 2) // width


@kernel
def bitmap_words(width: Any, extent: Any) -> Any:
    """64-bit words of the bitmap of a chunk, which begins with the row that entry 0 is in."""
    return (extent + 2 * width) // 64 + 1


@kernel
def blocks_room(width: Any, extent: Any) -> Any:
    """64-bit words that ``mark_blocks`` works in."""
    rows = _rows_of(width, extent)
    lines = 4 * (rows + 1) + 4 * (width + 1) + max(rows, width)
    return bitmap_words(width, extent) + lines // 8 + 1 + SLOTS // 2 + 2 * (_CLASSES + 1)


@kernel
def mark_blocks(
    section: Any, size: Any, width: Any, extent: Any, count: Any, tables: Any, room: Any
) -> Any:
    """Decode a section to a bitmap.

    Args:
        section: its address; ``TAIL_BYTES`` follow it.
        size: its bytes.
        width: the mask parameter, 16 to 65535.
        extent: entries up to the last non-zero, at least 1.
        count: number of non-zeros, at least 1.
        tables: address of what ``run_tables`` returns.
        room: address of ``blocks_room`` words; the first ``bitmap_words`` become the bitmap.

    Returns:
        (whether the section is valid, phase): then ``count`` bits are set, none before the phase,
        and bit phase + p stands for position p; the last one is bit phase + extent − 1.
    """
    if size % 2 or size < 2 * STATE_WORDS:
        return False, _U(0)
    words, end, at = section, _U(size // 2), _U(STATE_WORDS)
    ones = room
    mapped = bitmap_words(width, extent)
    for index in range(mapped):
        store_64(ones + _U(8 * index), _U(0))
    first_rows = ones + _U(8 * mapped)
    first_columns = first_rows + _U(8 * (_CLASSES + 1))
    table = first_columns + _U(8 * (_CLASSES + 1))
    row_places = table + _U(4 * SLOTS)
    column_places = row_places + _U(4 * (_rows_of(width, extent) + 1))
    classes = column_places + _U(4 * (width + 1))
    u, x = _U(load_32(section)), _U(load_32(section + _U(4)))
    y, z = _U(load_32(section + _U(8))), _U(load_32(section + _U(12)))
    phase, u, at = _read_field(u, _SIXTEEN, words, at)
    if at > end or phase >= _U(width):
        return False, phase
    heights, x, at = _read_field(x, _FOUR, words, at)
    if at > end:
        return False, phase
    widths, y, at = _read_field(y, _FOUR, words, at)
    if at > end:
        return False, phase
    x, y, z, u = z, u, x, y
    row_classes, column_classes = np.int64(heights) + 1, np.int64(widths) + 1
    rows = (np.int64(phase) + extent + width - 1) // width
    whole = True
    if row_classes > 1:
        x, y, z, u, at, whole = _read_classes(
            x, y, z, u, at, end, words, row_classes, rows, table, classes
        )
        if at > end or not whole:
            return False, phase
    _sort_lines(classes, rows, row_classes, _U(width), first_rows, row_places)
    if column_classes > 1:
        x, y, z, u, at, whole = _read_classes(
            x, y, z, u, at, end, words, column_classes, width, table, classes
        )
        if at > end or not whole:
            return False, phase
    _sort_lines(classes, width, column_classes, _ONE, first_columns, column_places)
    total = _U(0)
    for row_class in range(row_classes):
        for column_class in range(column_classes):
            row, height = _line_class(first_rows, row_class)
            column, breadth = _line_class(first_columns, column_class)
            cells = height * breadth
            bits = _U(0)
            while cells >> bits:
                bits += _ONE
            low, x, at = _read_field(x, min(bits, _SIXTEEN), words, at)
            x, y, z, u = y, z, u, x
            if at > end:
                return False, phase
            high = _U(0)
            if bits > _SIXTEEN:
                high, x, at = _read_field(x, bits - _SIXTEEN, words, at)
                x, y, z, u = y, z, u, x
                if at > end:
                    return False, phase
            here = low | (high << _SIXTEEN)
            if here == _U(0):
                continue
            total += here
            if here > cells or total > _U(count):
                return False, phase
            number, unit = density_step(np.int64(here), np.int64(cells))
            block = (
                cells, breadth, (_ONE << _RECIPROCAL) // breadth + _ONE,
                row_places + (row << _TWO), column_places + (column << _TWO),
            )  # fmt: skip
            x, y, z, u, at, behind = _read_block(
                x, y, z, u, at, end, words, tables + _U(4 * SLOTS * number), _U(unit), here, block,
                ones,
            )  # fmt: skip
            if at > end or behind > cells:
                return False, phase
    if x != _LEAST or y != _LEAST or z != _LEAST or u != _LEAST:
        return False, phase
    if at != end or total != _U(count):
        return False, phase
    first = np.int64(phase)
    return _only_between(ones, mapped, first, first + extent - 1), phase


@kernel
def _line_class(firsts: Any, number: Any) -> Any:
    """(first line, number of lines) of a class."""
    first = load_64(firsts + _U(8 * number))
    return first, load_64(firsts + _U(8 * (number + 1))) - first


@kernel
def decode_blocks(
    section: Any, size: Any, width: Any, extent: Any, count: Any, out: Any, tables: Any
) -> Any:
    """Decode a section to positions and check it.

    Args:
        section: its address; ``TAIL_BYTES`` follow it.
        size: its bytes.
        width: the mask parameter.
        extent: entries up to the last non-zero.
        count: number of non-zeros, at least 1.
        out: address of as many uint32, overwritten.
        tables: address of what ``run_tables`` returns.

    Returns:
        Whether the section is valid; else the positions mean nothing.
    """
    room = np.empty(blocks_room(width, extent), np.uint64)
    ones = _U(room.ctypes.data)
    whole, phase = mark_blocks(section, size, width, extent, count, tables, ones)
    if whole:
        list_ones(ones, 0, phase, 0, count, count, out, are_many(count, extent))
    return whole and room.size > 0  # so that the room lasts
