"""Value encoding 1, ``sign``: one magnitude for all, and a sign bit each; what T-Switch makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Sign(Encoding["Values"]):
    """u32 magnitude, then a bit a value, 1 = negative: float32 with that sign bit, int32 ±."""

    id = 1
    name = "sign"

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """32 and one a value: 32 + m."""
        return 32 + nonzeros

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if all values share one magnitude that is not 0."""
        return () if values.magnitude is None else (0,)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The magnitude, then the signs."""
        magnitude = np.array([values.magnitude], "<u4").view(np.uint8)
        signs = np.packbits(values.patterns.view(np.int32) < 0, bitorder="little")
        return np.concatenate((magnitude, signs))
