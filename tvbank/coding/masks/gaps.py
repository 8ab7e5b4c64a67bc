"""Mask encoding 6, ``gaps``: Golomb's run-length code; the distances between non-zeros."""

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

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


def distances(positions: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Distances − 1 between ascending positions, the first counted from −1."""
    symbols = positions.copy()
    symbols[1:] -= positions[:-1]
    symbols[1:] -= np.uint32(1)
    return symbols


@final
class Gaps(Encoding["Mask"]):
    """One Rice symbol a non-zero: its distance − 1 from the one before; the parameter is k."""

    id = 6
    name = "gaps"
    allowed = Parameters(most=MASK_RICE_LIMIT)
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the symbols."""

    @classmethod
    def least_bits(cls, parameter: int, extent: int, nonzeros: int) -> int:
        """No symbol is shorter than k + 1."""
        return nonzeros * (parameter + 1)

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Every k from 0 to 24, for a chunk with a non-zero."""
        return range(MASK_RICE_LIMIT + 1) if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(int(mask.gap_bits[parameter]))

    def best_parameter(self, mask: Mask) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        return fewest_bytes(mask.gap_bits, MASK_RICE_LIMIT) if mask.nonzeros else None

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        from tvbank.coding.streams import encode_stream  # numba: only when something is encoded

        return encode_stream(distances(mask.positions), int(mask.gap_bits[parameter]), parameter)
