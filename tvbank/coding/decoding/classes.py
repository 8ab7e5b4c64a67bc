"""The classes of a matrix's lines: which class each line has, and the lines of each class."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.coder import FREQUENCY_AT, RANK_AT, SYMBOL, read_field, read_symbol
from tvbank.coding.decoding.memory import load_8, load_64, store_8, store_32, store_64
from tvbank.coding.kernel import kernel
from tvbank.coding.rans import SLOT_BITS, SLOTS

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _FOUR = _U(1), _U(2), _U(4)
_SLOT_BITS = _U(SLOT_BITS)
#: Most classes of rows, or of columns.
CLASSES = 16


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
            frequency, x, at = read_field(x, _SLOT_BITS, words, at)
            x, y, z, u = y, z, u, x
        if at > end or frequency == _U(0) or start + frequency > _U(SLOTS):
            return x, y, z, u, at, False
        entry = _U(number) | (frequency << FREQUENCY_AT)
        for rank in range(frequency):
            store_32(table + ((start + _U(rank)) << _TWO), _U32(entry | (_U(rank) << RANK_AT)))
        start += frequency
    line = _U(0)
    behind = _U(lines)
    while line + _FOUR <= behind and at + _FOUR <= end:
        first, x, at = read_symbol(x, table, words, at)
        second, y, at = read_symbol(y, table, words, at)
        third, z, at = read_symbol(z, table, words, at)
        fourth, u, at = read_symbol(u, table, words, at)
        four = (first & SYMBOL) | ((second & SYMBOL) << _U(8))
        four |= ((third & SYMBOL) << _U(16)) | ((fourth & SYMBOL) << _U(24))
        store_32(classes + line, _U32(four))
        line += _FOUR
    while line < behind and at <= end:
        first, x, at = read_symbol(x, table, words, at)
        x, y, z, u = y, z, u, x
        store_8(classes + line, np.uint8(first & SYMBOL))
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
