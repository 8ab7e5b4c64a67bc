"""Parts that invalid frames are put together from."""

from __future__ import annotations

import struct

from tools.vectors.frames.encoder import Stream, frame

HALF, MINUS_HALF = 0x3F000000, 0xBF000000
POSITIONS = [7, 12, 39]
SIGNS = struct.pack("<I", HALF) + bytes([0b110])  # +, -, -
ZEROS = b"\0" * 4

#: reason, frame, why, and the number of entries that the caller expects, if any.
FrameFault = tuple[str, bytes, str] | tuple[str, bytes, str, int]


def worked(**header: int) -> bytes:
    """The worked example of frame.md with fields of its header replaced."""
    return frame(
        "float32", 64, POSITIONS, ("gaps", 3), b"\x9f\x28", ("sign", 0), SIGNS, **header
    )  # fmt: skip


def masked(name: str, parameter: int, section: bytes, **header: int) -> bytes:
    """The worked example with another mask section."""
    return frame(
        "float32", 64, POSITIONS, (name, parameter), section, ("sign", 0), SIGNS, **header
    )  # fmt: skip


def valued(name: str, parameter: int, section: bytes, element: str = "float32") -> bytes:
    """Three values at positions 0, 1 and 2."""
    return frame(element, 4, [0, 1, 2], ("full", 0), b"", (name, parameter), section)


def bits(text: str) -> bytes:
    """A section from its bits in the order of the stream; spaces are for the reader."""
    stream = Stream()
    for bit in text.replace(" ", ""):
        stream.field(int(bit), 1)
    return bytes(stream)


def rice(*symbols: tuple[int, int] | tuple[int, int, bool]) -> bytes:
    """A section of Rice symbols: value, k and whether to force the escape."""
    stream = Stream()
    for symbol in symbols:
        stream.rice(*symbol)
    return bytes(stream)


def rice_values(*values: tuple[int, int] | tuple[int, int, bool]) -> bytes:
    stream = Stream()
    for value, *how in values:
        stream.field(value < 0, 1)
        stream.rice(abs(value) - 1, *how)
    return bytes(stream)
