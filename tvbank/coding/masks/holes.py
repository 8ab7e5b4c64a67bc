"""Mask encoding 4, ``holes``: gap coding of the zeros, for masks that are nearly full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import bits_from, kernel
from tvbank.coding.masks._mask import Mask
from tvbank.coding.masks.gaps import deltas
from tvbank.coding.rice import (
    check_stream,
    encode_stream,
    is_non_canonical,
    padded,
    read_symbol,
    smallest_parameter,
)
from tvbank.coding.sections import MASK_RICE_LIMIT, bytes_of_bits


@kernel
def _decode(data: Any, size: Any, parameter: Any, holes: Any, positions: Any) -> Any:
    """Returns (bits read, whether a symbol was not canonical, position behind the last hole)."""
    k = np.uint64(parameter)
    bit, end = np.uint64(0), np.uint64(8 * size)
    position: Any = 0
    wrong = False
    count: Any = 0
    for _ in range(holes):
        if bit >= end:
            return np.int64(end + np.uint64(1)), wrong, position
        word = bits_from(data, bit)
        value, bits = read_symbol(word, k)
        wrong |= is_non_canonical(value, bits, k)
        bit += bits
        ones: Any = np.int64(value)
        if ones <= positions.size - count:
            for one in range(ones):
                positions[count + one] = np.uint32(position + one)
            count += ones
        position += ones + 1
    rest = position - count
    for index in range(count, positions.size):
        positions[index] = np.uint32(rest + index)
    return np.int64(bit), wrong, position


@final
class Holes(Encoding[Mask]):
    """One Rice symbol a zero below the extent: its distance − 1 from the zero before."""

    id = 4
    name = "holes"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every k from 0 to 24, for a chunk with a non-zero."""
        return range(MASK_RICE_LIMIT + 1) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(int(mask.hole_bits[parameter]))

    def best_parameter(self, mask: Mask) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        return smallest_parameter(mask.hole_bits, MASK_RICE_LIMIT) if mask.nonzeros else None

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        return encode_stream(deltas(mask.holes), int(mask.hole_bits[parameter]), parameter)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: mask-section, padding, non-canonical, position."""
        k = header.mask_parameter
        holes = header.extent - header.nonzeros
        if holes * (k + 1) > 8 * len(section):
            raise fault("mask-section", f"{len(section)} bytes for {holes} holes")
        positions = np.empty(header.nonzeros, np.uint32)
        bits, wrong, behind = _decode(padded(section), len(section), k, holes, positions)
        check_stream(section, bits, "mask-section", "mask-section")
        if wrong:
            raise fault("non-canonical", "an escape for a distance that needs none")
        if behind >= header.extent:
            raise fault("position", f"a hole at {behind - 1} in an extent of {header.extent}")
        return positions
