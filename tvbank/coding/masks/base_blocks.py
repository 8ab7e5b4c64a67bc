"""Mask encoding 9, ``base-blocks``: runs among entries of equal rows and equal exponents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import GREATEST_WIDTH, LEAST_WIDTH, Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class BaseBlocks(Encoding["Mask"]):
    """Classes of rows, segments of the base's exponents; the parameter is the length of a row."""

    id = 9
    name = "base-blocks"
    version = 2
    given_base = True
    allowed = Parameters(LEAST_WIDTH, GREATEST_WIDTH)
    elements = ("int32",)
    #: Four states of 32 bits and a word.
    least_bytes = 18

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the states and words."""

    def parameters(self, mask: Mask) -> Sequence[int]:
        """The length of a row, for a chunk with a non-zero whose base is at hand."""
        return (mask.matrix[0],) if mask.nonzeros and mask.exponents is not None else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: those of the states and words; only encoding determines them."""
        return mask.base_blocks.size

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """States and words."""
        return mask.base_blocks
