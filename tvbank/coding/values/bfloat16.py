"""Value encoding 5, ``bfloat16``: the upper halves of float32 patterns whose lower are zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.header import FrameHeader
from tvbank.coding.values._values import Values, check_nonzero


@final
class BFloat16(Encoding[Values]):
    """The upper 16 bits of each pattern; NaNs included, since nothing is computed with them."""

    id = 5
    name = "bfloat16"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if the lower 16 bits of every float32 pattern are zero."""
        fits = values.element == "float32" and not values.used_bits & 0xFFFF
        return (0,) if values.count and fits else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 2m."""
        return 2 * values.count

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The upper halves."""
        return (values.patterns >> np.uint32(16)).astype("<u2").view(np.uint8)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: zero-value."""
        upper = np.frombuffer(section, "<u2").astype(np.uint32)
        return check_nonzero(upper << np.uint32(16))
