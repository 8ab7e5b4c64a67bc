"""Value encoding 4, ``float16``: IEEE halves, where these are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.values._values import Values, check_nonzero


@final
class Float16(Encoding[Values]):
    """One half a value, finite or infinite; not NaN, whose payload would not survive."""

    id = 4
    name = "float16"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if every value is a half."""
        return () if values.halves is None else (0,)

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 2m."""
        return 2 * values.count

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The halves."""
        assert values.halves is not None
        return values.halves.astype("<f2").view(np.uint8)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: value (NaN), zero-value."""
        halves = np.frombuffer(section, "<u2").astype(np.uint16)
        if (halves & np.uint16(0x7FFF)).max() > 0x7C00:
            raise fault("value", "a NaN among the halves")
        return check_nonzero(halves.view(np.float16).astype(np.float32).view(np.uint32))
