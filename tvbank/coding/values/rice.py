"""Value encoding 7, ``rice``: signs and Golomb–Rice coded sizes of integer steps (exact tasks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import bits_from, kernel
from tvbank.coding.rice import (
    check_stream,
    encode_stream,
    is_non_canonical,
    padded,
    read_symbol,
    smallest_parameter,
)
from tvbank.coding.sections import VALUE_RICE_LIMIT, bytes_of_bits
from tvbank.coding.values._values import Values

_ONE = np.uint64(1)
#: |v| − 1 of the least int32; of the greatest it is one less.
_GREATEST = np.uint64(0x7FFF_FFFF)


@kernel
def _decode(data: Any, size: Any, parameter: Any, patterns: Any) -> Any:
    """Returns (bits read, whether a symbol was not canonical, whether one was out of range)."""
    k = np.uint64(parameter)
    bit, end = np.uint64(0), np.uint64(8 * size)
    wrong = too_large = False
    for index in range(patterns.size):
        if bit >= end:
            return np.int64(end + _ONE), wrong, too_large
        word = bits_from(data, bit)
        negative = word & _ONE
        symbol, bits = read_symbol(word >> _ONE, k)
        wrong |= is_non_canonical(symbol, bits, k)
        too_large |= symbol + _ONE > _GREATEST + negative
        bit += bits + _ONE
        patterns[index] = np.uint32(~symbol if negative else symbol + _ONE)
    return np.int64(bit), wrong, too_large


@final
class Rice(Encoding[Values]):
    """Per int32 value one sign bit (1 = negative), then the Rice symbol of |v| − 1."""

    id = 7
    name = "rice"

    def parameters(self, values: Values) -> Sequence[int]:
        """Every k from 0 to 31, for int32 chunks with a non-zero."""
        return range(VALUE_RICE_LIMIT + 1) if values.count and values.element == "int32" else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: ceil((m + bits of the symbols) / 8)."""
        return bytes_of_bits(int(values.step_bits[parameter]))

    def best_parameter(self, values: Values) -> int | None:
        """The k of the fewest bytes, from the counts for all of them."""
        if not self.parameters(values):
            return None
        return smallest_parameter(values.step_bits, VALUE_RICE_LIMIT)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Signs and symbols in one stream."""
        bits = int(values.step_bits[parameter])
        signs = values.patterns >> np.uint32(31)
        return encode_stream(values.step_symbols, bits, parameter, signs=signs)

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: frame-truncated, frame-trailing, padding, non-canonical, value."""
        k = header.value_parameter
        if header.nonzeros * (k + 2) > 8 * len(section):
            raise fault("frame-truncated", f"{len(section)} bytes for {header.nonzeros} values")
        patterns = np.empty(header.nonzeros, np.uint32)
        bits, wrong, too_large = _decode(padded(section), len(section), k, patterns)
        check_stream(section, bits, "frame-truncated", "frame-trailing")
        if wrong:
            raise fault("non-canonical", "an escape for a step that needs none")
        if too_large:
            raise fault("value", "a step that is no 32-bit integer")
        return patterns
