"""Mask encoding 4, ``holes``: gap coding of the zeros, for masks that are nearly full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import (
    MASK_RICE_LIMIT,
    Encoding,
    Parameters,
    bytes_of_bits,
    fewest_bytes,
)
from tvbank.coding.masks.gaps import distances

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Holes(Encoding["Mask"]):
    """One Rice symbol a zero below the extent: its distance − 1 from the zero before."""

    id = 4
    name = "holes"
    allowed = Parameters(most=MASK_RICE_LIMIT)
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the symbols."""

    @classmethod
    def least_bits(cls, parameter: int, extent: int, nonzeros: int) -> int:
        """No symbol is shorter than k + 1."""
        return (extent - nonzeros) * (parameter + 1)

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every k from 0 to 24, for a chunk with a non-zero."""
        return range(MASK_RICE_LIMIT + 1) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(int(mask.hole_bits[parameter]))

    def best_parameter(self, mask: Mask) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        return fewest_bytes(mask.hole_bits, MASK_RICE_LIMIT) if mask.nonzeros else None

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        from tvbank.coding.streams import encode_stream  # numba: only when something is encoded

        return encode_stream(distances(mask.holes), int(mask.hole_bits[parameter]), parameter)
