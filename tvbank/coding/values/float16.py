"""Value encoding 4, ``float16``: IEEE halves, where these are exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Float16(Encoding["Values"]):
    """One half a value, finite or infinite; not NaN, whose payload would not survive."""

    id = 4
    name = "float16"
    elements = ("float32",)

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """16m."""
        return 16 * nonzeros

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if every value is a half."""
        return () if values.halves is None else (0,)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The halves."""
        assert values.halves is not None
        return values.halves.astype("<f2").view(np.uint8)
