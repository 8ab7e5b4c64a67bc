"""Mask encoding 1, ``full``: every entry below the extent is a non-zero; no section."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding

if TYPE_CHECKING:
    from tvbank.coding.masks.mask import Mask


@final
class Full(Encoding["Mask"]):
    """The non-zeros are the first entries of the chunk, without a gap."""

    id = 1
    name = "full"

    def parameters(self, mask: Mask) -> Sequence[int]:
        """0, if no entry below the extent is zero."""
        return (0,) if mask.nonzeros == mask.extent > 0 else ()

    def encode(self, mask: Mask, parameter: int) -> NDArray[np.uint8]:
        """Nothing."""
        return np.empty(0, np.uint8)
