"""Mask encoding 7, ``grouped``: grouped coordinates as in [F] Eq. 16."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


_LIMIT = 16


@final
class Grouped(Encoding["Mask"]):
    """Groups of c = 2^s entries: a flag a group, then per non-zero s index bits and an end mark."""

    id = 7
    name = "grouped"
    allowed = Parameters(1, _LIMIT)
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """One a group and s + 1 a non-zero: ceil(e / 2^s) + m·(s + 1)."""
        return -(-extent >> parameter) + nonzeros * (parameter + 1)

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every s from 1 to 16, for a chunk with a non-zero."""
        return range(1, _LIMIT + 1) if mask.nonzeros else ()

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The flags, then the indices with their end marks."""
        from tvbank.coding.streams import pack  # numba: only when something is encoded

        group = mask.positions >> np.uint32(parameter)
        flags = np.zeros(-(-mask.extent >> parameter), np.uint8)
        flags[group] = 1
        fields = mask.positions & np.uint32((1 << parameter) - 1)
        fields[:-1] |= (group[1:] != group[:-1]).astype(np.uint32) << np.uint32(parameter)
        fields[-1] |= np.uint32(1 << parameter)
        return pack(fields, parameter + 1, flags)
