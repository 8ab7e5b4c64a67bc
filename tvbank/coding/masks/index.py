"""Mask encoding 3, ``index``: the positions themselves, as few bits each as the extent needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.fields import pack, unpack
from tvbank.coding.header import FrameHeader
from tvbank.coding.masks._mask import Mask
from tvbank.coding.rice import check_padding, padded
from tvbank.coding.sections import bytes_of_bits, code_bits


@final
class Index(Encoding[Mask]):
    """Strictly ascending positions of w = bit_length(extent − 1) bits each; the parameter is w."""

    id = 3
    name = "index"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """bit_length(e − 1), for a chunk with a non-zero."""
        return (code_bits(mask.extent),) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(m·w / 8)."""
        return bytes_of_bits(mask.nonzeros * parameter)

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The positions."""
        return pack(mask.positions, parameter)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, position."""
        check_padding(section, header.nonzeros * header.mask_parameter)
        positions = unpack(padded(section), header.mask_parameter, header.nonzeros)
        if positions[-1] != header.extent - 1 or not (positions[1:] > positions[:-1]).all():
            raise fault("position", "an index list that does not ascend to the extent")
        return positions
