"""Value encoding 2, ``table``: the distinct patterns once, and a code of few bits each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import TABLE_LIMIT, Encoding, Parameters, code_bits

if TYPE_CHECKING:
    from tvbank.coding.values.facts import Values


@final
class Table(Encoding["Values"]):
    """t ascending u32 patterns, then codes of bit_length(t − 1) bits each; the parameter is t."""

    id = 2
    name = "table"
    allowed = Parameters(1, TABLE_LIMIT)

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int:
        """32t + m·bit_length(t − 1)."""
        return 32 * parameter + nonzeros * code_bits(parameter)

    def parameters(self, values: Values) -> Sequence[int]:
        """The number of distinct values, if there are 1 to 256."""
        return (values.alphabet.patterns.size,) if values.nonzeros and values.alphabet else ()

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The patterns, then the codes."""
        from tvbank.coding.streams import pack  # numba: only when something is encoded

        assert values.alphabet is not None
        ranks = np.arange(parameter, dtype=np.uint32)
        codes = values.alphabet.codes(values.patterns, ranks)
        table = values.alphabet.patterns.astype("<u4").view(np.uint8)
        return np.concatenate((table, pack(codes, code_bits(parameter))))
