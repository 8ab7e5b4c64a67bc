"""Value encoding 0, ``none``: a chunk of zeros has no values; no section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.header import FrameHeader
from tvbank.coding.values._values import Values


@final
class NoValues(Encoding[Values]):
    """There are no non-zeros; it goes with mask ``empty`` and with no other."""

    id = 0
    name = "none"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, for a chunk without non-zeros."""
        return () if values.count else (0,)

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 0."""
        return 0

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Nothing."""
        return np.empty(0, np.uint8)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Nothing; there is nothing to check."""
        return np.empty(0, np.uint32)
