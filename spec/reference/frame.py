"""Frames: the bytes of one chunk of one task vector (frame.md)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .invalid import require
from .masks import BASE_BLOCKS, EMPTY, FULL, decode_mask, mask_parameter_is_valid, mask_section_size
from .masks import LAST_OF_FIRST as LAST_MASK
from .values import (
    BASE_MAGNITUDES,
    NONE,
    decode_values,
    value_encoding_is_valid,
    value_parameter_is_valid,
)
from .values import LAST_OF_FIRST as LAST_VALUE

HEADER = struct.Struct("<4B2H4I")
ELEMENTS = ("float32", "int32")
MAX_ENTRIES = 2**24


class Frame(NamedTuple):
    """A decoded chunk: where its non-zeros are, ascending, and their 32-bit patterns."""

    version: int
    element: str
    entries: int
    positions: Sequence[int]
    patterns: Sequence[int]

    def dense(self) -> list[int]:
        """The patterns of all entries, zeros included."""
        chunk = [0] * self.entries
        for position, pattern in zip(self.positions, self.patterns, strict=True):
            chunk[position] = pattern
        return chunk


class NeedsBase(Exception):  # noqa: N818 - nothing is wrong with the frame
    """A frame that is given the base was to be decoded without it."""


class Header(NamedTuple):
    """The fields of a frame's first 24 bytes, and whether it is given the base."""

    version: int
    element: int
    mask: int
    value: int
    mask_parameter: int
    value_parameter: int
    entries: int
    extent: int
    nonzeros: int
    mask_size: int

    @property
    def given_base(self) -> bool:
        """Whether the base's weights are needed to decode the frame."""
        return self.mask == BASE_BLOCKS or self.value == BASE_MAGNITUDES


def read_header(data: bytes, entries: int | None = None) -> Header:
    """Check and read the header of a frame, and that its mask section lies within it.

    Raises:
        Invalid: with the first reason of the table in frame.md that applies.
    """
    require(len(data) >= HEADER.size, "frame-truncated", "the frame is shorter than its header")
    header = Header(*HEADER.unpack_from(data))
    (version, element, mask, value, mask_parameter, value_parameter, n, extent, nonzeros,
     mask_size) = header  # fmt: skip
    newer = mask > LAST_MASK or value > LAST_VALUE
    require(
        version == 1 or (version == 2 and newer),
        "frame-version",
        f"version {version}, not 1, or 2 with an encoding that 1 lacks",
    )
    require(element < len(ELEMENTS), "element-type", f"element type {element}")
    require(
        mask <= (LAST_MASK if version == 1 else BASE_BLOCKS)
        and (mask != BASE_BLOCKS or ELEMENTS[element] == "int32"),
        "mask-encoding",
        f"mask encoding {mask}",
    )
    require(
        value_encoding_is_valid(value, element, version) and (value == NONE) == (mask == EMPTY),
        "value-encoding",
        f"value encoding {value} for element type {element} and mask encoding {mask}",
    )
    require(
        1 <= n <= MAX_ENTRIES
        and nonzeros <= extent <= n
        and (nonzeros == 0) == (extent == 0) == (mask == EMPTY)
        and (mask != FULL or nonzeros == extent),
        "count",
        f"{n} entries, extent {extent} and {nonzeros} non-zeros contradict each other",
    )
    require(entries in (None, n), "entries-mismatch", f"{n} entries, not {entries}")
    require(
        mask_parameter_is_valid(mask, mask_parameter, extent),
        "mask-parameter",
        f"parameter {mask_parameter} for mask encoding {mask}",
    )
    require(
        value_parameter_is_valid(value, value_parameter),
        "value-parameter",
        f"parameter {value_parameter} for value encoding {value}",
    )
    needed = mask_section_size(mask, mask_parameter, extent, nonzeros)
    require(needed in (None, mask_size), "mask-section", f"{mask_size} bytes, not {needed}")
    require(HEADER.size + mask_size <= len(data), "frame-truncated", "the mask section is cut off")
    return header


def decode_frame(
    data: bytes, entries: int | None = None, exponents: Sequence[int] | None = None
) -> Frame:
    """Decode one frame.

    Args:
        data: all bytes of the frame and no others.
        entries: the length that the chunk must have, if the caller knows it.
        exponents: the exponent byte of each of the base's weights in the chunk, if there is a base.

    Raises:
        Invalid: with the first reason of the table in frame.md that applies.
        NeedsBase: the frame is given the base, and ``exponents`` are missing.
    """
    header = read_header(data, entries)
    if header.given_base and exponents is None:
        raise NeedsBase
    exponents = exponents or ()
    middle = HEADER.size + header.mask_size
    positions = decode_mask(
        header.mask,
        header.mask_parameter,
        header.extent,
        header.nonzeros,
        data[HEADER.size : middle],
        exponents,
    )
    beside = None
    if header.value == BASE_MAGNITUDES:
        beside = [exponents[position] for position in positions]
    patterns = decode_values(
        header.value, header.value_parameter, header.element, header.nonzeros, data[middle:], beside
    )
    return Frame(header.version, ELEMENTS[header.element], header.entries, positions, patterns)
