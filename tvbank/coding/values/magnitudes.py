"""Value encoding 8, ``magnitudes``: entropy-coded steps, by one law a chunk (exact tasks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Magnitudes(Encoding["Values"]):
    """Signs and buckets of magnitudes by their frequencies, and low bits as they are."""

    id = 8
    name = "magnitudes"
    version = 2
    allowed = Parameters()
    elements = ("int32",)
    #: The coder's size, its four states, a law of one symbol.
    least_bytes = 20
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the coder and the low bits."""

    def parameters(self, values: Values) -> Sequence[int]:
        """None is needed, for int32 chunks with a non-zero."""
        return (0,) if values.nonzeros and values.element == "int32" else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: only encoding determines them."""
        return values.magnitudes.size

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The coder's size and bytes, then the low bits."""
        return values.magnitudes
