"""Value encoding 1, ``sign``: one magnitude for all, and a sign bit each; what T-Switch makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import Encoding
from tvbank.coding.faults import fault
from tvbank.coding.header import FrameHeader
from tvbank.coding.kernel import kernel
from tvbank.coding.masks import Mask
from tvbank.coding.rice import check_padding, padded
from tvbank.coding.sections import bytes_of_bits
from tvbank.coding.values._values import MAGNITUDE_BITS, SIGN_BIT, Values


@kernel
def _expand(words: Any, positive: Any, negative: Any, out: Any) -> None:
    """``out[i]`` is ``negative`` where bit i of ``words`` is 1, else ``positive``."""
    change = np.uint32(positive) ^ np.uint32(negative)
    whole = out.size // 64
    for index in range(whole):
        word = words[index]
        for lane in range(64):
            bit = np.uint32((word >> np.uint64(lane)) & np.uint64(1))
            out[64 * index + lane] = np.uint32(positive) ^ (change & -bit)
    for lane in range(out.size - 64 * whole):
        bit = np.uint32((words[whole] >> np.uint64(lane)) & np.uint64(1))
        out[64 * whole + lane] = np.uint32(positive) ^ (change & -bit)


@final
class Sign(Encoding[Values]):
    """u32 magnitude, then a bit a value, 1 = negative: float32 with that sign bit, int32 ±."""

    id = 1
    name = "sign"

    def parameters(self, values: Values) -> Sequence[int]:
        """0, if all values share one magnitude that is not 0."""
        return () if values.magnitude is None else (0,)

    def section_bytes(self, values: Values, parameter: int) -> int:
        """Bytes: 4 + ceil(m / 8)."""
        return 4 + bytes_of_bits(values.count)

    def encode(self, values: Values, parameter: int) -> NDArray[np.uint8]:
        """The magnitude, then the signs."""
        magnitude = np.array([values.magnitude], "<u4").view(np.uint8)
        signs = Mask.of(values.patterns & SIGN_BIT)
        section = np.zeros(self.section_bytes(values, parameter), np.uint8)
        section[:4] = magnitude
        bits = signs.words.view(np.uint8)[: section.size - 4]
        section[4 : 4 + bits.size] = bits
        return section

    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """Faults: padding, magnitude."""
        check_padding(section[4:], header.nonzeros)
        magnitude = int.from_bytes(section[:4], "little")
        if not 1 <= magnitude <= MAGNITUDE_BITS:
            raise fault("magnitude", f"{magnitude:#x} is not within 1 .. 0x7fffffff")
        if header.element == "float32":
            negative = magnitude | int(SIGN_BIT)
        else:
            negative = (1 << 32) - magnitude
        patterns = np.empty(header.nonzeros, np.uint32)
        _expand(padded(section[4:]).view(np.uint64), magnitude, negative, patterns)
        return patterns
