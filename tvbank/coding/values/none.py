"""Value encoding 0, ``none``: a chunk of zeros has no values; no section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class NoValues(Encoding["Values"]):
    """There are no non-zeros; it goes with mask ``empty`` and with no other."""

    id = 0
    name = "none"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, for a chunk without non-zeros."""
        return () if values.nonzeros else (0,)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Nothing."""
        return np.empty(0, np.uint8)
