"""The entropy coder of blocks, by address: symbols of a table, and plain fields.

As ``tvbank.coding.rans`` reads them (spec/masks.md, "The entropy coder"). Nothing here is compared
with the end of the words: whoever reads on does that.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import inlined, load_16, load_32
from tvbank.coding.rans import FIRST_STATE, SLOT_BITS, SLOTS

_U = np.uint64
_ONE, _TWO, _SIXTEEN = _U(1), _U(2), _U(16)
#: In an entry of a table: the symbol's bits, where its frequency is, and where the slot's rank.
SYMBOL = _U(0xFF)
FREQUENCY_AT, RANK_AT = _U(8), _U(19)
_FREQUENCY_MASK = _U(0x7FF)
_SLOT_BITS, _SLOT_MASK = _U(SLOT_BITS), _U(SLOTS - 1)
#: What every state is at the end.
LEAST = _U(FIRST_STATE)


@inlined
def _refill(state: Any, words: Any, at: Any) -> Any:
    """(state, next word); one word may be read, needed or not."""
    word = _U(load_16(words + (at << _ONE)))
    low = state < LEAST
    return (state << _SIXTEEN) | word if low else state, at + _U(low)


@inlined
def peek(state: Any, table: Any) -> Any:
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
    entry = peek(state, table)
    frequency = (entry >> FREQUENCY_AT) & _FREQUENCY_MASK
    state = frequency * (state >> _SLOT_BITS) + (entry >> RANK_AT)
    state, at = _refill(state, words, at)
    return entry, state, at


@inlined
def read_field(state: Any, bits: Any, words: Any, at: Any) -> Any:
    """A plain field of 0 to 16 bits: (field, state, next word)."""
    field = state & ((_ONE << bits) - _ONE)
    state, at = _refill(state >> bits, words, at)
    return field, state, at
