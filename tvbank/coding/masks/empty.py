"""Mask encoding 0, ``empty``: a chunk of zeros; no section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Empty(Encoding["Mask"]):
    """No entry differs from zero."""

    id = 0
    name = "empty"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """0, for a chunk of zeros."""
        return () if mask.nonzeros else (0,)

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """Nothing."""
        return np.empty(0, np.uint8)
