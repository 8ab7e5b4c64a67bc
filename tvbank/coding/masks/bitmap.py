"""Mask encoding 2, ``bitmap``: one bit an entry below the extent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding, bytes_of_bits

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Bitmap(Encoding["Mask"]):
    """Bit i tells whether entry i is a non-zero; the bit of the last non-zero is the last bit."""

    id = 2
    name = "bitmap"

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """One an entry: e."""
        return extent

    def parameters(self, mask: Mask) -> Sequence[int]:
        """0, for a chunk with a non-zero."""
        return (0,) if mask.nonzeros else ()

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The bits."""
        return mask.words.view(np.uint8)[: bytes_of_bits(mask.extent)]
