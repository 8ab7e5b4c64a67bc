"""Mask encoding 7, ``grouped``: grouped coordinates as in [F] Eq. 16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.fields import pack
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import bits_from, kernel, trailing_zeros
from tvbank.coding.masks._mask import Mask
from tvbank.coding.rice import check_padding, padded
from tvbank.coding.sections import GROUP_LIMIT, bytes_of_bits


@kernel
def _next_group(data: Any, group: Any, groups: Any) -> Any:
    """The first flagged group from ``group`` on; ``groups`` or more if there is none."""
    while group < groups:
        word = bits_from(data, group)
        if word:
            return group + trailing_zeros(word)
        group += np.uint64(64) - (group & np.uint64(7))
    return group


@kernel
def _decode(data: Any, shift: Any, group_count: Any, positions: Any) -> Any:
    """Returns whether flags, indices and end marks agree; the last position is not checked."""
    bits = np.uint64(shift)
    groups = np.uint64(group_count)
    low = (np.uint64(1) << bits) - np.uint64(1)
    bit = groups
    group = _next_group(data, np.uint64(0), groups)
    least = np.uint64(0)
    for index in range(positions.size):
        if group >= groups:
            return False
        field = bits_from(data, bit)
        bit += bits + np.uint64(1)
        within = field & low
        if within < least:
            return False
        positions[index] = np.uint32((group << bits) | within)
        if (field >> bits) & np.uint64(1):
            group = _next_group(data, group + np.uint64(1), groups)
            least = np.uint64(0)
        else:
            least = within + np.uint64(1)
    return group >= groups


@final
class Grouped(Encoding[Mask]):
    """Groups of c = 2^s entries: a flag a group, then per non-zero s index bits and an end mark."""

    id = 7
    name = "grouped"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every s from 1 to 16, for a chunk with a non-zero."""
        return range(1, GROUP_LIMIT + 1) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil((ceil(e / 2^s) + m·(s + 1)) / 8)."""
        return bytes_of_bits(-(-mask.extent >> parameter) + mask.nonzeros * (parameter + 1))

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The flags, then the indices with their end marks."""
        group = mask.positions >> np.uint32(parameter)
        flags = np.zeros(-(-mask.extent >> parameter), np.uint8)
        flags[group] = 1
        fields = mask.positions & np.uint32((1 << parameter) - 1)
        fields[:-1] |= (group[1:] != group[:-1]).astype(np.uint32) << np.uint32(parameter)
        fields[-1] |= np.uint32(1 << parameter)
        return pack(fields, parameter + 1, flags)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, position."""
        shift = header.mask_parameter
        groups = -(-header.extent >> shift)
        check_padding(section, groups + header.nonzeros * (shift + 1))
        positions = np.empty(header.nonzeros, np.uint32)
        agree = _decode(padded(section), shift, groups, positions)
        if not agree or positions[-1] != header.extent - 1:
            raise fault("position", "group flags, indices and end marks do not agree")
        return positions
