"""Range asymmetric numeral systems: entropy coding of any probabilities, in integers only.

Four states of 32 bits take turns, so that a processor works on four symbols at once; each is kept
in [2^16, 2^32) by moving 16-bit words. A step decodes either a symbol of a table, whose
probabilities are multiples of 1/1024, or a plain field of up to 16 bits. Encoding does the inverse
steps in the inverse order. The section: the four states, as pairs of words, then words.

A table is uint32 [1024], an entry a slot:

| bits | what |
|---|---|
| 0..7 | the symbol, with bit 7 as a mark that means what the caller wants |
| 8..18 | its frequency, 1..1024: its number of slots |
| 19..28 | how far the slot is from the first one of its symbol |

The exact procedure is in spec/masks.md, "The entropy coder".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.kernel import kernel

SLOT_BITS: Final = 10
SLOTS: Final = 1 << SLOT_BITS
#: 16-bit words that the states take.
STATE_WORDS: Final = 8
#: What every state is before the first symbol is encoded and after the last is decoded.
FIRST_STATE: Final = 1 << 16
#: Longest plain field.
FIELD_BITS: Final = 16

_SLOT_BITS = np.uint64(SLOT_BITS)
_WORD_BITS, _WORD_MASK = np.uint64(16), np.uint64(0xFFFF)
_STATE_BITS = np.uint64(32)


@kernel
def _spill(state: Any, limit: Any, words: Any, at: Any) -> Any:
    # The word is always written, and ``at`` moves only if it was due: the processor could not
    # predict a branch here.
    words[at - 1] = np.uint16(state & _WORD_MASK)
    due = state >= limit
    return state >> _WORD_BITS if due else state, at - np.int64(due)


@kernel
def write_symbol(state: Any, first_slot: Any, frequency: Any, words: Any, at: Any) -> Any:
    """Encode a symbol: the inverse of ``decoding.coder``'s; words are filled from the end.

    Args:
        state: uint64, the state whose turn it is.
        first_slot: uint64, the first slot of the symbol within its table.
        frequency: uint64, its number of slots.
        words: uint16; the word before the one written last is overwritten, needed or not.
        at: the word written last, or the length of ``words``.

    Returns:
        (state, word written last).
    """
    state, at = _spill(state, frequency << (_STATE_BITS - _SLOT_BITS), words, at)
    # Exact: the quotient is below 2^32 and no closer than 2^-10 to an integer that it is not.
    # As int64, which the processor converts faster.
    quotient = np.uint64(np.int64(np.float64(np.int64(state)) / np.float64(np.int64(frequency))))
    state = (quotient << _SLOT_BITS) + (state - quotient * frequency) + first_slot
    return state, at


@kernel
def write_field(state: Any, field: Any, bits: Any, words: Any, at: Any) -> Any:
    """Encode a plain field of 0 to 16 bits (uint64); returns (state, word written last)."""
    state, at = _spill(state, np.uint64(1) << (_STATE_BITS - bits), words, at)
    return (state << bits) | field, at


@kernel
def close_section(states: Any, words: Any, at: Any) -> Any:
    """Write the states before the words; returns where the section starts."""
    at -= STATE_WORDS
    for number in range(4):
        words[at + 2 * number] = np.uint16(states[number] & _WORD_MASK)
        words[at + 2 * number + 1] = np.uint16(states[number] >> _WORD_BITS)
    return at


@kernel
def fill_table(tables: Any, first_slot: Any, start: Any, frequency: Any, symbol: Any) -> None:
    """Give ``frequency`` slots of a table, from ``start`` on, to a symbol of 8 bits."""
    for rank in range(frequency):
        tables[first_slot + start + rank] = np.uint32(symbol | (frequency << 8) | (rank << 19))
