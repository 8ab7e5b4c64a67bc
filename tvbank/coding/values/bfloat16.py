"""Value encoding 5, ``bfloat16``: the upper halves of float32 patterns whose lower are zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class BFloat16(Encoding["Values"]):
    """The upper 16 bits of each pattern; NaNs included, since nothing is computed with them."""

    id = 5
    name = "bfloat16"
    elements = ("float32",)

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """16m."""
        return 16 * nonzeros

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if the lower 16 bits of every float32 pattern are zero."""
        fits = values.element == "float32" and not values.used_bits & 0xFFFF
        return (0,) if values.nonzeros and fits else ()

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The upper halves."""
        return (values.patterns >> np.uint32(16)).astype("<u2").view(np.uint8)
