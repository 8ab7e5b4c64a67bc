"""Mask encoding 2, ``bitmap``: one bit an entry below the extent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import kernel, ones_in
from tvbank.coding.masks._mask import Mask, list_ones
from tvbank.coding.rice import check_padding, padded
from tvbank.coding.sections import bytes_of_bits


@kernel
def _count_ones(words: Any) -> Any:
    ones = np.uint64(0)
    for word in words:
        ones += ones_in(word)
    return np.int64(ones)


@final
class Bitmap(Encoding[Mask]):
    """Bit i tells whether entry i is a non-zero; the bit of the last non-zero is the last bit."""

    id = 2
    name = "bitmap"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """0, for a chunk with a non-zero."""
        return (0,) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(e / 8)."""
        return bytes_of_bits(mask.extent)

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The bits."""
        return mask.words.view(np.uint8)[: bytes_of_bits(mask.extent)]

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, position."""
        check_padding(section, header.extent)
        last = header.extent - 1
        if not section[last // 8] >> (last % 8) & 1:
            raise fault("position", "the last bit of the bitmap is not 1")
        words = padded(section).view(np.uint64)
        ones = _count_ones(words)
        if ones != header.nonzeros:
            raise fault("position", f"{ones} ones in a bitmap of {header.nonzeros} non-zeros")
        positions = np.empty(header.nonzeros, np.uint32)
        list_ones(words, positions)
        return positions
