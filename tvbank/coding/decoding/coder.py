"""The entropy coder of ``blocks``: symbols, the classes of lines, and the runs of one block.

The inverse of ``tvbank.coding.rans`` (spec/masks.md, "The entropy coder"). One symbol is read
without looking at the end of the words: each loop compares after it.

Symbols of blocks without plain bits are read one from each state in turn, without a branch: an
escape marks nothing, like a one that is shifted out. In blocks with plain bits a symbol and its
bits take a state each. A cell is marked at once, while the processor waits for the states, and
its weight's cache line is asked for.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import (
    inlined,
    load_8,
    load_16,
    load_32,
    load_64,
    prefetch,
    store_8,
    store_32,
    store_64,
)
from tvbank.coding.densities import ESCAPE, RUN_LIMIT
from tvbank.coding.kernel import kernel
from tvbank.coding.rans import FIRST_STATE, SLOT_BITS, SLOTS

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _THREE, _FOUR, _SIXTEEN = _U(1), _U(2), _U(3), _U(4), _U(16)
#: In an entry of a table: the symbol's bits, where its frequency is, and where the slot's rank.
_SYMBOL = _U(0xFF)
_FREQUENCY_AT, _RANK_AT = _U(8), _U(19)
_FREQUENCY_MASK = _U(0x7FF)
_SLOT_BITS, _SLOT_MASK = _U(SLOT_BITS), _U(SLOTS - 1)
#: What every state is at the end.
LEAST: Final = _U(FIRST_STATE)
#: Most classes of rows, or of columns.
CLASSES: Final = 16
_LOW_THREE = _U(7)
_ESCAPE, _RUN, _ESCAPE_AT = _U(ESCAPE), _U(ESCAPE - 1), _U(7)
#: Most cells that a symbol takes, its one included, before they are scaled.
_STEP = _U(RUN_LIMIT + 1)
#: A quotient of numbers below 2^25 and 2^16 is exact as a product with ceil(2^41 / divisor).
RECIPROCAL: Final = _U(41)


@inlined
def _refill(state: Any, words: Any, at: Any) -> Any:
    """(state, next word); one word may be read, needed or not."""
    word = _U(load_16(words + (at << _ONE)))
    low = state < LEAST
    return (state << _SIXTEEN) | word if low else state, at + _U(low)


@inlined
def _peek(state: Any, table: Any) -> Any:
    """The table's entry of the next symbol, uint64."""
    return _U(load_32(table + ((state & _SLOT_MASK) << _TWO)))


@inlined
def read_symbol(state: Any, table: Any, words: Any, at: Any) -> Any:
    """One symbol.

    Args:
        state: the state whose turn it is.
        table: address of the table, uint32 [1024].
        words: address of the words, uint16.
        at: the next word; it may be read, needed or not.

    Returns:
        (the table's entry, state, next word), uint64.
    """
    entry = _peek(state, table)
    frequency = (entry >> _FREQUENCY_AT) & _FREQUENCY_MASK
    state = frequency * (state >> _SLOT_BITS) + (entry >> _RANK_AT)
    state, at = _refill(state, words, at)
    return entry, state, at


@inlined
def read_field(state: Any, bits: Any, words: Any, at: Any) -> Any:
    """A plain field of 0 to 16 bits: (field, state, next word)."""
    field = state & ((_ONE << bits) - _ONE)
    state, at = _refill(state >> bits, words, at)
    return field, state, at


@kernel
def read_classes(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, count: Any, lines: Any,
    table: Any, classes: Any,
) -> Any:  # fmt: skip
    """Read the class of each of some lines.

    Args:
        x: as the other states and ``at``, ``end``, ``words``: see ``read_block``.
        y: a state.
        z: a state.
        u: a state.
        at: the next word.
        end: number of words.
        words: their address.
        count: number of classes, int64 from 2.
        lines: their number, int64.
        table: where the table is written: its address.
        classes: address of as many bytes as there are lines; overwritten.

    Returns:
        (x, y, z, u, next word, whether the classes share the slots): the next word exceeds ``end``
        if the words do not suffice.
    """
    start = _U(0)
    for number in range(count):
        frequency = _U(SLOTS) - start
        if number < count - 1:
            frequency, x, at = read_field(x, _SLOT_BITS, words, at)
            x, y, z, u = y, z, u, x
        if at > end or frequency == _U(0) or start + frequency > _U(SLOTS):
            return x, y, z, u, at, False
        entry = _U(number) | (frequency << _FREQUENCY_AT)
        for rank in range(frequency):
            store_32(table + ((start + _U(rank)) << _TWO), _U32(entry | (_U(rank) << _RANK_AT)))
        start += frequency
    line = _U(0)
    stop = _U(lines)
    while line + _FOUR <= stop and at + _FOUR <= end:
        first, x, at = read_symbol(x, table, words, at)
        second, y, at = read_symbol(y, table, words, at)
        third, z, at = read_symbol(z, table, words, at)
        fourth, u, at = read_symbol(u, table, words, at)
        four = (first & _SYMBOL) | ((second & _SYMBOL) << _U(8))
        four |= ((third & _SYMBOL) << _U(16)) | ((fourth & _SYMBOL) << _U(24))
        store_32(classes + line, _U32(four))
        line += _FOUR
    while line < stop and at <= end:
        first, x, at = read_symbol(x, table, words, at)
        x, y, z, u = y, z, u, x
        store_8(classes + line, np.uint8(first & _SYMBOL))
        line += _ONE
    return x, y, z, u, at, True


@kernel
def sort_lines(classes: Any, lines: Any, count: Any, step: Any, firsts: Any, places: Any) -> None:
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
def lines_of(firsts: Any, number: Any) -> Any:
    """(first line, number of lines) of a class."""
    first = load_64(firsts + _U(8 * number))
    return first, load_64(firsts + _U(8 * (number + 1))) - first


@inlined
def _mark(cell: Any, kept: Any, block: Any, ones: Any, lines: Any) -> Any:
    """Set the bit of a cell, at most the one after the last, if ``kept`` is 1."""
    _, divisor, reciprocal, rows, columns = block
    place = cell
    if columns:
        row = (cell * reciprocal) >> RECIPROCAL
        column = cell - row * divisor
        place = _U(load_32(rows + (row << _TWO))) + _U(load_32(columns + (column << _TWO)))
    if lines is not None:
        prefetch(lines + (place << _TWO))
    at = ones + (place >> _THREE)
    store_8(at, np.uint8(_U(load_8(at)) | (kept << (place & _LOW_THREE))))


@inlined
def _take(
    state: Any, at: Any, done: Any, cell: Any, words: Any, table: Any, block: Any, ones: Any,
    lines: Any,
) -> Any:  # fmt: skip
    """Read a symbol without plain bits and mark where it leads: (state, next word, done, cell)."""
    entry, state, at = read_symbol(state, table, words, at)
    kept = ~(entry >> _ESCAPE_AT) & _ONE
    cell += entry & _RUN
    _mark(cell, kept, block, ones, lines)
    return state, at, done + kept, cell + kept


@kernel
def _read_four(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, table: Any, count: Any,
    block: Any, ones: Any, lines: Any,
) -> Any:  # fmt: skip
    """Read symbols without plain bits by fours, as long as nothing can go wrong."""
    cells = block[0]
    done = cell = _U(0)
    while done + _FOUR <= count and at + _FOUR <= end and cell + _FOUR * _STEP <= cells:
        x, at, done, cell = _take(x, at, done, cell, words, table, block, ones, lines)
        y, at, done, cell = _take(y, at, done, cell, words, table, block, ones, lines)
        z, at, done, cell = _take(z, at, done, cell, words, table, block, ones, lines)
        u, at, done, cell = _take(u, at, done, cell, words, table, block, ones, lines)
    return x, y, z, u, at, done, cell


@kernel
def read_block(
    x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, table: Any, unit: Any,
    count: Any, block: Any, ones: Any, lines: Any,
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
            its columns are in a row; or 0, for a block that is one row of the bitmap.
        ones: address of the bitmap.
        lines: address of the float32 weight that the bitmap's bit 0 stands for, there or not; the
            cache lines of marked ones are asked for. Or None.

    Returns:
        (x, y, z, u, next word, cell after the last): the next word exceeds ``end`` if the words
        do not suffice.
    """
    cells = block[0]
    done = cell = _U(0)
    if unit == _U(0):
        x, y, z, u, at, done, cell = _read_four(
            x, y, z, u, at, end, words, table, count, block, ones, lines
        )
    two = (_TWO * _STEP) << unit
    while done < count and at <= end:
        two_fit = unit and done + _TWO <= count and at + _FOUR <= end and cell + two <= cells
        if two_fit and not (_peek(x, table) | _peek(z, table)) & _ESCAPE:
            entry, x, at = read_symbol(x, table, words, at)
            rest, y, at = read_field(y, unit, words, at)
            cell += ((entry & _RUN) << unit) + rest
            _mark(cell, _ONE, block, ones, lines)
            entry, z, at = read_symbol(z, table, words, at)
            rest, u, at = read_field(u, unit, words, at)
            cell += ((entry & _RUN) << unit) + rest + _ONE
            _mark(cell, _ONE, block, ones, lines)
            cell += _ONE
            done += _TWO
            continue
        entry, x, at = read_symbol(x, table, words, at)
        x, y, z, u = y, z, u, x
        cell += (entry & _RUN) << unit
        if not entry & _ESCAPE and at <= end:
            if unit:
                rest, x, at = read_field(x, unit, words, at)
                x, y, z, u = y, z, u, x
                cell += rest
            _mark(min(cell, cells), _ONE, block, ones, lines)
            done += _ONE
            cell += _ONE
    return x, y, z, u, at, cell
