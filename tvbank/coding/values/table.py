"""Value encoding 2, ``table``: the distinct patterns once, and a code of few bits each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.fields import pack, unpack
from tvbank.coding.gather import gather
from tvbank.coding.header import FrameHeader
from tvbank.coding.rice import check_padding, padded
from tvbank.coding.sections import bytes_of_bits, code_bits
from tvbank.coding.values._values import Values


@final
class Table(Encoding[Values]):
    """t ascending u32 patterns, then codes of bit_length(t − 1) bits each; the parameter is t."""

    id = 2
    name = "table"

    def parameters(self, values: Values) -> Sequence[int]:
        """The number of distinct values, if there are 1 to 256."""
        return (values.alphabet.patterns.size,) if values.count and values.alphabet else ()

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 4t + ceil(m·bit_length(t − 1) / 8)."""
        return 4 * parameter + bytes_of_bits(values.count * code_bits(parameter))

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The patterns, then the codes."""
        assert values.alphabet is not None
        ranks = np.arange(parameter, dtype=np.uint32)
        codes = values.alphabet.codes(values.patterns, ranks)
        table = values.alphabet.patterns.astype("<u4").view(np.uint8)
        return np.concatenate((table, pack(codes, code_bits(parameter))))

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, code, table."""
        size = header.value_parameter
        table = np.frombuffer(section[: 4 * size], "<u4").astype(np.uint32)
        stream = section[4 * size :]
        check_padding(stream, header.nonzeros * code_bits(size))
        codes = unpack(padded(stream), code_bits(size), header.nonzeros)
        if codes.max() >= size:
            raise fault("code", f"code {codes.max()} into a table of {size}")
        if not table[0] or not (table[1:] > table[:-1]).all():
            raise fault("table", "the patterns of the table do not ascend from 1")
        return gather(table, codes)
