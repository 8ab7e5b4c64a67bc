"""Mask encoding 5, ``runs``: lengths of the alternating runs of zeros and ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import MASK_RICE_LIMIT, Encoding, Parameters, bytes_of_bits

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


_PARAMETERS = [
    k_zero + 256 * k_one
    for k_one in range(MASK_RICE_LIMIT + 1)
    for k_zero in range(MASK_RICE_LIMIT + 1)
]


@final
class Runs(Encoding["Mask"]):
    """Rice symbols of run lengths, zeros with one k and ones with another: k_zero + 256·k_one."""

    id = 5
    name = "runs"
    allowed = Parameters(most=_PARAMETERS[-1], low_byte=MASK_RICE_LIMIT)
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the symbols."""

    def parameters(self, mask: Mask) -> Sequence[int]:
        """Both ks from 0 to 24, for a chunk with a non-zero."""
        return _PARAMETERS if mask.nonzeros else ()

    def section_bytes(self, mask: Mask, parameter: int) -> int:
        """Bytes: ceil(bits of the symbols / 8)."""
        return bytes_of_bits(self._bits(mask, parameter))

    def best_parameter(self, mask: Mask) -> int | None:
        """Both ks at once, over the 25 × 25 sums of two counts."""
        if not mask.nonzeros:
            return None
        ks = slice(MASK_RICE_LIMIT + 1)
        bits = mask.one_run_bits[ks, np.newaxis] + mask.zero_run_bits[np.newaxis, ks]
        return _PARAMETERS[int(np.argmin((bits + 7) // 8))]

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """The symbols."""
        from tvbank.coding.streams import encode_stream  # numba: only when something is encoded

        symbols = mask.runs.copy()
        symbols[1:] -= np.uint32(1)
        k_one, k_zero = divmod(parameter, 256)
        return encode_stream(symbols, self._bits(mask, parameter), k_zero, k_odd=k_one)

    @staticmethod
    def _bits(mask: Mask, parameter: int) -> int:
        k_one, k_zero = divmod(parameter, 256)
        return int(mask.zero_run_bits[k_zero] + mask.one_run_bits[k_one])
