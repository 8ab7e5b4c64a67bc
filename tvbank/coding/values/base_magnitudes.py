"""Value encoding 9, ``base-magnitudes``: steps by laws for segments of the base's exponents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding, Parameters

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class BaseMagnitudes(Encoding["Values"]):
    """As ``magnitudes``, by the law of the exponent of the base's weight at each value."""

    id = 9
    name = "base-magnitudes"
    version = 2
    given_base = True
    allowed = Parameters()
    elements = ("int32",)
    #: The coder's size, its four states, a law of one symbol.
    least_bytes = 20

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the coder and the low bits."""

    def parameters(self, values: Values) -> Sequence[int]:
        """None is needed, for int32 chunks with a non-zero whose base is at hand."""
        able = values.nonzeros and values.element == "int32" and values.exponents is not None
        return (0,) if able else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: only encoding determines them."""
        return values.base_magnitudes.size

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The coder's size and bytes, then the low bits."""
        return values.base_magnitudes
