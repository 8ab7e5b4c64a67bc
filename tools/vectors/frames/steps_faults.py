"""Frames whose ``magnitudes`` section is not valid."""

from __future__ import annotations

import struct

from tools.vectors.frames.blocks import Turn, encoded, field
from tools.vectors.frames.parts import FrameFault, bits, valued
from tools.vectors.frames.steps import (
    OCTAVES,
    Scale,
    cut,
    fitted_law,
    law_turns,
    magnitudes_section,
    section,
    symbol_turns,
)

STEPS = (3, -1, 6)


def steps_faults() -> list[FrameFault]:
    good = magnitudes_section((3, 2**32 - 1, 6))
    symbols = [cut(step) for step in STEPS]
    law = fitted_law(symbols)
    turns = [*law_turns(law), *symbol_turns(symbols, law)]
    (size,) = struct.unpack("<I", good[:4])

    def fault(reason: str, made: bytes, why: str) -> FrameFault:
        return reason, valued("magnitudes", 0, made, "int32"), f"magnitudes: {why}"

    def of_law(*made: Turn) -> bytes:
        return section([field(0, 5), *made], b"")

    def single(symbol: int, low: bytes, scale: Scale = OCTAVES) -> bytes:
        law = law_turns([0] * symbol + [1024], scale)
        return section([*law, *[("symbol", 0, 1024)] * 3], low)

    return [
        fault("frame-truncated", b"", "nothing"),
        fault("frame-truncated", good[:3], "the size is cut off"),
        fault("frame-truncated", good[:20], "the states are there, and no words"),
        fault("frame-truncated", good[:-1], "the low bits are cut off"),
        fault("frame-truncated", struct.pack("<I", size + 4) + good[4:], "a size beyond the frame"),
        fault("frame-truncated", struct.pack("<I", 2**32 - 2) + good[4:], "a size of 4 GiB"),
        fault("frame-truncated", struct.pack("<I", size - 2) + good[4:-3] + good[-1:],
              "a word is missing"),
        fault("table", struct.pack("<I", size - 1) + good[4:], "an odd size"),
        fault("table", struct.pack("<I", 14) + good[4:], "fewer bytes than the states take"),
        fault("table", of_law(field(0, 7)), "a law of no symbols"),
        fault("table", of_law(field(127, 7)), "a law of 127 symbols"),
        fault("table", of_law(field(1, 7), field(12, 4)), "a frequency of 12 bits"),
        fault("table", of_law(field(1, 7), field(10, 4), field(511, 9)), "1023 slots"),
        fault("table", of_law(field(1, 7), field(11, 4), field(1, 10)), "1025 slots"),
        fault("table", of_law(field(2, 7), *law_turns([1024])[2:], field(1, 4)), "a slot too many"),
        fault("frame-trailing", good + b"\0", "a byte after the low bits"),
        fault("frame-trailing", struct.pack("<I", size + 2) + good[4:-1] + b"\0\0" + good[-1:],
              "a word after the last symbol"),
        fault("padding", good[:-1] + bytes([good[-1] | 0x80]), "the last bit is unused"),
        *(
            fault("non-canonical", pack(encoded(turns, first), good[-1:]),
                  f"the states start at {list(first)}")
            for first in ((65537, *[65536] * 3), (*[65536] * 3, 131071))
        ),
        fault("value", single(122, bits("0" * 90)), "+2^31"),
        fault("value", single(123, bits("1" + "0" * 89)), "-2^31 - 1"),
        fault("value", single(124, bits("0" * 90)), "+3 * 2^30"),
        fault("value", single(1, bits("0" * 90), (31, 2**32 - 1)), "a bucket from -2^62 on"),
        fault("value", single(0, b"", (1, 2**31)), "+2^31, in a bucket of one"),
        fault("zero-value", single(1, b"", (1, 0)), "a bucket of zero"),
        fault("zero-value", single(0, bits("01 00 10"), (3, 0)), "zero among others"),
    ]  # fmt: skip


def pack(coder: bytes, low: bytes) -> bytes:
    """A section of which the coder's part is given."""
    return struct.pack("<I", len(coder)) + coder + low
