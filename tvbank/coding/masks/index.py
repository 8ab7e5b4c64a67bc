"""Mask encoding 3, ``index``: the positions themselves, as few bits each as the extent needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding, Parameters, code_bits

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Index(Encoding["Mask"]):
    """Strictly ascending positions of w = bit_length(extent − 1) bits each; the parameter is w."""

    id = 3
    name = "index"
    allowed = Parameters(most=24, is_width=1)

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """W a non-zero: m·w."""
        return nonzeros * parameter

    def parameters(self, mask: Mask) -> Sequence[int]:
        """bit_length(e − 1), for a chunk with a non-zero."""
        return (code_bits(mask.extent),) if mask.nonzeros else ()

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The positions."""
        from tvbank.coding.streams import pack  # numba: only when something is encoded

        return pack(mask.positions, parameter)
