"""Value encoding 7, ``rice``: signs and Golomb–Rice coded sizes of integer steps (exact tasks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import (
    VALUE_RICE_LIMIT,
    Encoding,
    Parameters,
    bytes_of_bits,
    fewest_bytes,
)

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Rice(Encoding["Values"]):
    """Per int32 value one sign bit (1 = negative), then the Rice symbol of |v| − 1."""

    id = 7
    name = "rice"
    allowed = Parameters(most=VALUE_RICE_LIMIT)
    elements = ("int32",)
    costly = True

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> None:
        """Those of the symbols."""

    @classmethod
    def least_bits(cls, parameter: int, extent: int, nonzeros: int) -> int:
        """A sign and a symbol have k + 2 at least."""
        return nonzeros * (parameter + 2)

    def parameters(self, values: Values) -> Sequence[int]:
        """Every k from 0 to 31, for int32 chunks with a non-zero."""
        return range(VALUE_RICE_LIMIT + 1) if values.nonzeros and values.element == "int32" else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: ceil((m + bits of the symbols) / 8)."""
        return bytes_of_bits(int(values.step_bits[parameter]))

    def best_parameter(self, values: Values) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        if not self.parameters(values):
            return None
        return fewest_bytes(values.step_bits, VALUE_RICE_LIMIT)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Signs and symbols in one stream."""
        from tvbank.coding.streams import encode_stream  # numba: only when something is encoded

        bits = int(values.step_bits[parameter])
        signs = values.patterns >> np.uint32(31)
        return encode_stream(values.step_symbols, bits, parameter, signs=signs)
