"""One block of equal density: its runs, and the cells that they lead to, marked in a bitmap.

Symbols of blocks without plain bits are read one from each state in turn, without a branch: an
escape marks nothing, like a one that is shifted out. In blocks with plain bits a symbol and its
bits take a state each. A cell is marked at once, while the processor waits for the states, and
its weight's cache line is asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.coder import peek, read_field, read_symbol
from tvbank.coding.decoding.memory import inlined, load_8, load_32, prefetch, store_8
from tvbank.coding.densities import ESCAPE, RUN_LIMIT
from tvbank.coding.kernel import kernel

_U = np.uint64
_ONE, _TWO, _THREE, _FOUR = _U(1), _U(2), _U(3), _U(4)
_LOW_THREE = _U(7)
_ESCAPE, _RUN, _ESCAPE_AT = _U(ESCAPE), _U(ESCAPE - 1), _U(7)
#: Most cells that a symbol takes, its one included, before they are scaled.
_STEP = _U(RUN_LIMIT + 1)
#: A quotient of numbers below 2^25 and 2^16 is exact as a product with ceil(2^41 / divisor).
RECIPROCAL = _U(41)


@inlined
def _mark(cell: Any, kept: Any, block: Any, ones: Any, lines: Any) -> Any:
    """Set the bit of a cell, at most the one behind the last, if ``kept`` is 1."""
    _, divisor, reciprocal, rows, columns = block
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
            its columns are in a row.
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
        if two_fit and not (peek(x, table) | peek(z, table)) & _ESCAPE:
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
