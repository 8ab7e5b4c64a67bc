"""Value encoding 3, ``affine``: codes of 1 to 8 bits on a grid of float32 values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import AFFINE_LIMIT, Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Affine(Encoding["Values"]):
    """f32 offset and step, then codes of b bits: offset + code·step; the parameter is b."""

    id = 3
    name = "affine"
    allowed = Parameters(1, AFFINE_LIMIT)
    elements = ("float32",)

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """64 + m·b."""
        return 64 + nonzeros * parameter

    def parameters(self, values: Values) -> Sequence[int]:
        """From the fewest bits of a grid that holds every value, if one is found, to 8."""
        return () if values.grid is None else range(values.grid.bits, AFFINE_LIMIT + 1)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Offset and step, then the codes."""
        from tvbank.coding.streams import pack  # numba: only when something is encoded

        assert values.alphabet is not None
        assert values.grid is not None
        codes = values.alphabet.codes(values.patterns, values.grid.codes)
        line = np.array([values.grid.offset, values.grid.step], "<f4").view(np.uint8)
        return np.concatenate((line, pack(codes, parameter)))
