"""Value encoding 6, ``raw``: the patterns themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Raw(Encoding["Values"]):
    """One u32 a value; it holds every chunk that has a non-zero."""

    id = 6
    name = "raw"

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """32m."""
        return 32 * nonzeros

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if there is a value."""
        return (0,) if values.nonzeros else ()

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The patterns."""
        return values.patterns.astype("<u4").view(np.uint8)
