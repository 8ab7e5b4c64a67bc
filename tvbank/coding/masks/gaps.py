"""Mask encoding 6, ``gaps``: Golomb's run-length code; the distances between non-zeros."""

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
def _decode(data: Any, size: Any, parameter: Any, positions: Any) -> Any:
    """Returns (bits read, whether a symbol was not canonical, position behind the last)."""
    k = np.uint64(parameter)
    bit, end = np.uint64(0), np.uint64(8 * size)
    position = np.uint64(0)
    wrong = False
    for index in range(positions.size):
        if bit >= end:
            return np.int64(end + np.uint64(1)), wrong, np.int64(position)
        word = bits_from(data, bit)
        value, bits = read_symbol(word, k)
        wrong |= is_non_canonical(value, bits, k)
        bit += bits
        position += value
        positions[index] = np.uint32(position)
        position += np.uint64(1)
    return np.int64(bit), wrong, np.int64(position)


def deltas(positions: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Distances − 1 between ascending positions, the first counted from −1."""
    symbols = positions.copy()
    symbols[1:] -= positions[:-1]
    symbols[1:] -= np.uint32(1)
    return symbols


@final
class Gaps(Encoding[Mask]):
    """One Rice symbol a non-zero: its distance − 1 from the one before; the parameter is k."""

    id = 6
    name = "gaps"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every k from 0 to 24, for a chunk with a non-zero."""
        return range(MASK_RICE_LIMIT + 1) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(int(mask.gap_bits[parameter]))

    def best_parameter(self, mask: Mask) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        return smallest_parameter(mask.gap_bits, MASK_RICE_LIMIT) if mask.nonzeros else None

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        return encode_stream(deltas(mask.positions), int(mask.gap_bits[parameter]), parameter)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: mask-section, padding, non-canonical, position."""
        k = header.mask_parameter
        if header.nonzeros * (k + 1) > 8 * len(section):
            raise fault("mask-section", f"{len(section)} bytes for {header.nonzeros} gaps")
        positions = np.empty(header.nonzeros, np.uint32)
        bits, wrong, extent = _decode(padded(section), len(section), k, positions)
        check_stream(section, bits, "mask-section", "mask-section")
        if wrong:
            raise fault("non-canonical", "an escape for a gap that needs none")
        if extent != header.extent:
            raise fault("position", f"gaps end at {extent} in an extent of {header.extent}")
        return positions
