"""Mask encoding 8, ``blocks``: a matrix cut into blocks of equal density, entropy coded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import GREATEST_WIDTH, LEAST_WIDTH, Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Blocks(Encoding["Mask"]):
    """Classes of rows and of columns, runs in each block; the parameter is the length of a row."""

    id = 8
    name = "blocks"
    allowed = Parameters(LEAST_WIDTH, GREATEST_WIDTH)
    #: Four states of 32 bits and a word.
    least_bytes = 18
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the states and words."""

    def parameters(self, mask: Mask) -> Sequence[int]:
        """The length of a row, for a chunk with a non-zero."""
        return (mask.matrix[0],) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: those of the states and words; only encoding determines them."""
        return mask.blocks.size

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """States and words."""
        return mask.blocks
