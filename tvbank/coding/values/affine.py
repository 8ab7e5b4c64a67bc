"""Value encoding 3, ``affine``: codes of 1 to 8 bits on a grid of float32 values."""

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
from tvbank.coding.sections import AFFINE_LIMIT, bytes_of_bits
from tvbank.coding.values._grid import grid_patterns
from tvbank.coding.values._values import Values, check_nonzero


@final
class Affine(Encoding[Values]):
    """f32 offset and step, then codes of b bits: offset + code·step; the parameter is b."""

    id = 3
    name = "affine"

    def parameters(self, values: Values) -> Sequence[int]:
        """From the fewest bits of a grid that holds every value, if one is found, to 8."""
        return () if values.grid is None else range(values.grid.bits, AFFINE_LIMIT + 1)

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 8 + ceil(m·b / 8)."""
        return 8 + bytes_of_bits(values.count * parameter)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """Offset and step, then the codes."""
        assert values.alphabet is not None
        assert values.grid is not None
        codes = values.alphabet.codes(values.patterns, values.grid.codes)
        line = np.array([values.grid.offset, values.grid.step], "<f4").view(np.uint8)
        return np.concatenate((line, pack(codes, parameter)))

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, value (offset or step not finite), zero-value."""
        bits = header.value_parameter
        offset, step = np.frombuffer(section[:8], "<f4").astype(np.float32)
        stream = section[8:]
        check_padding(stream, header.nonzeros * bits)
        if not (np.isfinite(offset) and np.isfinite(step)):
            raise fault("value", f"an affine grid of offset {offset} and step {step}")
        codes = unpack(padded(stream), bits, header.nonzeros)
        return check_nonzero(gather(grid_patterns(offset, step, bits), codes))
