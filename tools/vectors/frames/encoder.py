"""A slow encoder of frames, written from spec/frame.md, spec/masks.md and spec/values.md.

It shares no code with tvbank's encoder nor with the reference decoder, so that vectors made with
it check both. Every encoding can be forced; ``sass`` tries them all.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise

from bitarray import bitarray
from bitarray.util import int2ba

from tools.vectors.frames.blocks import SINGLE, Classes, blocks_section
from tools.vectors.frames.steps import magnitudes_section

MASKS = ("empty", "full", "bitmap", "index", "holes", "runs", "gaps", "grouped", "blocks",
         "base-blocks")  # fmt: skip
VALUES = ("none", "sign", "table", "affine", "float16", "bfloat16", "raw", "rice", "magnitudes",
          "base-magnitudes")  # fmt: skip
#: How many of them are in frames of version 1.
FIRST_MASKS, FIRST_VALUES = 9, 8
ELEMENTS = ("float32", "int32")


class NotEncodableError(Exception):
    """These positions or values have no such encoding."""


class Stream:
    """Bits, least significant first; ``bytes`` pads the last byte with zero bits."""

    def __init__(self) -> None:
        self.bits = bitarray(endian="little")

    def field(self, value: int, width: int) -> None:
        if width:
            self.bits.extend(int2ba(value, width, endian="little"))

    def rice(self, value: int, k: int, escape: bool = False) -> None:
        """``escape`` forces the long form, which is invalid where the short one exists."""
        if value >> k >= 24 or escape:
            self.field(0, 24)
            self.field(value, 32)
        else:
            self.field(1 << (value >> k), (value >> k) + 1)
            self.field(value & ((1 << k) - 1), k)

    def __bytes__(self) -> bytes:
        return self.bits.tobytes()


def mask_section(
    name: str, parameter: int, positions: Sequence[int], classes: Classes = SINGLE
) -> bytes:
    """The mask section of ascending positions; the extent ends with the last.

    ``classes`` are for ``blocks``: the phase, and the classes of rows and columns.
    """
    extent = positions[-1] + 1 if positions else 0
    stream = Stream()
    if name in ("empty", "full"):
        if list(positions) != list(range(extent)) or (name == "empty") != (not positions):
            raise NotEncodableError
    elif name == "bitmap":
        present = set(positions)
        for position in range(extent):
            stream.field(position in present, 1)
    elif name == "index":
        for position in positions:
            stream.field(position, parameter)
    elif name in ("gaps", "holes"):
        listed = positions if name == "gaps" else sorted(set(range(extent)) - set(positions))
        for before, position in pairwise([-1, *listed]):
            stream.rice(position - before - 1, parameter)
    elif name == "runs":
        for number, (zeros, ones) in enumerate(runs(positions)):
            stream.rice(zeros - (number > 0), parameter % 256)
            stream.rice(ones - 1, parameter // 256)
    elif name == "grouped":
        groups = [position >> parameter for position in positions]
        for group in range((extent + (1 << parameter) - 1) >> parameter):
            stream.field(group in groups, 1)
        for position, group, after in zip(positions, groups, [*groups[1:], None], strict=True):
            stream.field(position & ((1 << parameter) - 1), parameter)
            stream.field(group != after, 1)
    elif name == "blocks":
        return blocks_section(positions, parameter, *classes)
    return bytes(stream)


def runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Lengths of the alternating runs of zeros and ones."""
    pairs: list[tuple[int, int]] = []
    end = 0
    for position in positions:
        if pairs and position == end:
            pairs[-1] = (pairs[-1][0], pairs[-1][1] + 1)
        else:
            pairs.append((position - end, 1))
        end = position + 1
    return pairs


def value_section(
    name: str,
    parameter: int,
    element: str,
    patterns: Sequence[int],
    affine: tuple[float, float] = (0.0, 0.0),
) -> bytes:
    """The value section of 32-bit patterns; ``affine`` is offset and step, where it is that."""
    count = len(patterns)
    stream = Stream()
    if name == "none" and not patterns:
        return b""
    if name == "sign":
        negative = [pattern >> 31 for pattern in patterns]
        magnitudes = {
            pattern & 0x7FFFFFFF if element == "float32" or not minus else 2**32 - pattern
            for pattern, minus in zip(patterns, negative, strict=True)
        }
        magnitude = magnitudes.pop() if len(magnitudes) == 1 else 0
        if not 0 < magnitude < 2**31:
            raise NotEncodableError
        for minus in negative:
            stream.field(minus, 1)
        return struct.pack("<I", magnitude) + bytes(stream)
    if name == "table":
        table = sorted(set(patterns))
        if parameter != len(table) or parameter > 256:
            raise NotEncodableError
        for pattern in patterns:
            stream.field(table.index(pattern), (parameter - 1).bit_length())
        return struct.pack(f"<{parameter}I", *table) + bytes(stream)
    if name == "affine" and element == "float32":
        offset, step = struct.unpack("<2f", struct.pack("<2f", *affine))
        levels = [float32(offset + code * step) for code in range(1 << parameter)]
        for pattern in patterns:
            if pattern not in levels:
                raise NotEncodableError
            stream.field(levels.index(pattern), parameter)
        return struct.pack("<2f", offset, step) + bytes(stream)
    if name == "float16" and element == "float32":
        halves = [_half(pattern) for pattern in patterns]
        return struct.pack(f"<{count}H", *halves)
    if name == "bfloat16" and element == "float32":
        if any(pattern & 0xFFFF for pattern in patterns):
            raise NotEncodableError
        return struct.pack(f"<{count}H", *(pattern >> 16 for pattern in patterns))
    if name == "raw":
        return struct.pack(f"<{count}I", *patterns)
    if name == "rice" and element == "int32":
        for pattern in patterns:
            value = pattern - (pattern >> 31 << 32)
            stream.field(value < 0, 1)
            stream.rice(abs(value) - 1, parameter)
        return bytes(stream)
    if name == "magnitudes" and element == "int32":
        return magnitudes_section(patterns)
    raise NotEncodableError


def frame(
    element: str,
    entries: int,
    positions: Sequence[int],
    mask: tuple[str, int],
    mask_bytes: bytes,
    value: tuple[str, int],
    value_bytes: bytes,
    /,
    **header: int,
) -> bytes:
    """Put a frame together; ``header`` overrides fields, to make invalid ones."""
    numbers = MASKS.index(mask[0]), VALUES.index(value[0])
    fields = {
        "version": 1 if numbers[0] < FIRST_MASKS and numbers[1] < FIRST_VALUES else 2,
        "element": ELEMENTS.index(element),
        "mask": numbers[0],
        "value": numbers[1],
        "mask_parameter": mask[1],
        "value_parameter": value[1],
        "entries": entries,
        "extent": positions[-1] + 1 if positions else 0,
        "nonzeros": len(positions),
        "mask_bytes": len(mask_bytes),
    }
    assert header.keys() <= fields.keys()
    return struct.pack("<4B2H4I", *(fields | header).values()) + mask_bytes + value_bytes


def encode(
    element: str,
    entries: int,
    chunk: dict[int, int],
    mask: tuple[str, int],
    value: tuple[str, int],
    affine: tuple[float, float] = (0.0, 0.0),
    classes: Classes = SINGLE,
) -> bytes:
    """A frame of a chunk, position -> pattern, in the encodings asked for."""
    positions = sorted(chunk)
    patterns = [chunk[position] for position in positions]
    mask_bytes = mask_section(*mask, positions, classes)
    value_bytes = value_section(*value, element, patterns, affine)
    return frame(element, entries, positions, mask, mask_bytes, value, value_bytes)


def mask_parameters(name: str, positions: Sequence[int]) -> list[int]:
    """Every parameter that a writer has to try; ``blocks`` is left to writers that know."""
    if name == "index":
        return [positions[-1].bit_length()] if positions else []
    if name in ("holes", "gaps"):
        return list(range(25))
    if name == "runs":
        return [zeros + 256 * ones for ones in range(25) for zeros in range(25)]
    if name == "blocks":
        return []
    return list(range(1, 17)) if name == "grouped" else [0]


def value_parameters(name: str, patterns: Sequence[int]) -> list[int]:
    """Every parameter that a writer has to try; ``affine`` is left to writers that know."""
    if name == "table":
        return [len(set(patterns))]
    if name == "rice":
        return list(range(32))
    return [] if name == "affine" else [0]


def sass(element: str, entries: int, chunk: dict[int, int]) -> bytes:
    """The frame of version 1 with the smallest sections ("Choice"), by trying all."""
    positions = sorted(chunk)
    patterns = [chunk[position] for position in positions]
    if not positions:
        return frame(element, entries, positions, ("empty", 0), b"", ("none", 0), b"")
    masks = [
        ((name, parameter), section)
        for name in MASKS[1:FIRST_MASKS]
        for parameter in mask_parameters(name, positions)
        if (section := _attempt(mask_section, name, parameter, positions)) is not None
    ]
    values = [
        ((name, parameter), section)
        for name in VALUES[1:FIRST_VALUES]
        for parameter in value_parameters(name, patterns)
        if (section := _attempt(value_section, name, parameter, element, patterns)) is not None
    ]
    smallest_mask = min(masks, key=lambda candidate: len(candidate[1]))
    smallest_value = min(values, key=lambda candidate: len(candidate[1]))
    return frame(element, entries, positions, *smallest_mask, *smallest_value)


def _attempt(build, *arguments):  # type: ignore[no-untyped-def]
    try:
        return build(*arguments)
    except NotEncodableError:
        return None


def float32(number: float) -> int:
    """The pattern of the nearest float32; infinity from half a unit beyond the largest one on."""
    if abs(number) >= 2.0**128 - 2.0**103:
        return 0xFF800000 if number < 0 else 0x7F800000
    return int(struct.unpack("<I", struct.pack("<f", number))[0])


def _half(pattern: int) -> int:
    number = struct.unpack("<f", struct.pack("<I", pattern))[0]
    try:
        half = struct.unpack("<H", struct.pack("<e", number))[0]
    except OverflowError:
        raise NotEncodableError from None
    if number != number or struct.unpack("<e", struct.pack("<H", half))[0] != number:
        raise NotEncodableError
    return int(half)
