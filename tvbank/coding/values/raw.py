"""Value encoding 6, ``raw``: the patterns themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.header import FrameHeader
from tvbank.coding.values._values import Values, check_nonzero


@final
class Raw(Encoding[Values]):
    """One u32 a value; it holds every chunk that has a non-zero."""

    id = 6
    name = "raw"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if there is a value."""
        return (0,) if values.count else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 4m."""
        return 4 * values.count

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The patterns."""
        return values.patterns.astype("<u4").view(np.uint8)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: zero-value."""
        return check_nonzero(np.frombuffer(section, "<u4").astype(np.uint32))
