"""Mask encoding 5, ``runs``: lengths of the alternating runs of zeros and ones."""

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
)
from tvbank.coding.sections import MASK_RICE_LIMIT, bytes_of_bits

_PARAMETERS = [
    k_zero + 256 * k_one
    for k_one in range(MASK_RICE_LIMIT + 1)
    for k_zero in range(MASK_RICE_LIMIT + 1)
]


@kernel
def _decode(data: Any, size: Any, parameter: Any, extent: Any, positions: Any) -> Any:
    """Returns (bits read, whether a symbol was not canonical, end of the last run, ones)."""
    k_zero, k_one = np.uint64(parameter % 256), np.uint64(parameter // 256)
    k = k_zero
    bit, end = np.uint64(0), np.uint64(8 * size)
    position = ones = np.int64(0)
    wrong = False
    first = True
    is_ones = False
    while position < extent or is_ones:
        if bit >= end:
            return np.int64(end + np.uint64(1)), wrong, position, ones
        word = bits_from(data, bit)
        value, bits = read_symbol(word, k)
        wrong |= is_non_canonical(value, bits, k)
        bit += bits
        length = np.int64(value) + (0 if first else 1)
        first = False
        if is_ones:
            if length <= positions.size - ones:
                for one in range(length):
                    positions[ones + one] = np.uint32(position + one)
            ones += length
            k = k_zero
        else:
            k = k_one
        is_ones = not is_ones
        position += length
    return np.int64(bit), wrong, position, ones


@final
class Runs(Encoding[Mask]):
    """Rice symbols of run lengths, zeros with one k and ones with another: k_zero + 256·k_one."""

    id = 5
    name = "runs"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Both ks from 0 to 24, for a chunk with a non-zero."""
        return _PARAMETERS if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(self._bits(mask, parameter))

    def best_parameter(self, mask: Mask) -> int | None:
        """Both ks at once, over the 25 × 25 sums of two counts."""
        if not mask.nonzeros:
            return None
        ks = slice(MASK_RICE_LIMIT + 1)
        bits = mask.one_run_bits[ks, np.newaxis] + mask.zero_run_bits[np.newaxis, ks]
        return _PARAMETERS[int(np.argmin((bits + 7) // 8))]

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        symbols = mask.runs.copy()
        symbols[1:] -= np.uint32(1)
        k_one, k_zero = divmod(parameter, 256)
        return encode_stream(symbols, self._bits(mask, parameter), k_zero, k_odd=k_one)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: mask-section, padding, non-canonical, position."""
        positions = np.empty(header.nonzeros, np.uint32)
        bits, wrong, position, ones = _decode(
            padded(section), len(section), header.mask_parameter, header.extent, positions
        )
        check_stream(section, bits, "mask-section", "mask-section")
        if wrong:
            raise fault("non-canonical", "an escape for a run that needs none")
        if position != header.extent or ones != header.nonzeros:
            raise fault(
                "position",
                f"runs of {ones} ones that end at {position}, "
                f"where {header.nonzeros} end at {header.extent}",
            )
        return positions

    @staticmethod
    def _bits(mask: Mask, parameter: int) -> int:
        k_one, k_zero = divmod(parameter, 256)
        return int(mask.zero_run_bits[k_zero] + mask.one_run_bits[k_one])
