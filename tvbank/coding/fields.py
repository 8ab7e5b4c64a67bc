"""Fields of a fixed width of 0 to 24 bits, packed without gaps: positions, codes and signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.kernel import kernel

_WORD_BITS = np.uint64(64)


@kernel
def _pack(fields: Any, width: Any, first_bit: Any, words: Any) -> None:
    bits = np.uint64(width)
    index = first_bit // 64
    filled = np.uint64(first_bit % 64)
    pending = words[index] if filled else np.uint64(0)
    for field in fields:
        value = np.uint64(field)
        pending |= value << filled
        filled += bits
        if filled >= _WORD_BITS:
            words[index] = pending
            index += 1
            filled -= _WORD_BITS
            pending = value >> (bits - filled)
    if filled:
        words[index] = pending


def pack(
    fields: NDArray[np.uint32], width: int, lead: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Pack fields into a bit stream.

    Args:
        fields: uint32 [count], each below 2^width.
        width: bits a field, 0 .. 24.
        lead: uint8 [bits] of 0 and 1 that come first in the stream.

    Returns:
        uint8: the stream, to the end of its last byte.
    """
    first_bit = 0 if lead is None else lead.size
    bits = first_bit + fields.size * width
    words = np.zeros(-(-bits // 64), np.uint64)
    if lead is not None:
        packed = np.packbits(lead, bitorder="little")
        words.view(np.uint8)[: packed.size] = packed
    if fields.size and width:
        _pack(fields, width, first_bit, words)
    return words.view(np.uint8)[: bytes_of_bits(bits)]
