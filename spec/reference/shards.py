"""Shards: frames with checksums, then an index (container.md, "Shards")."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .crc32c import split_checksum
from .frame import Frame, decode_frame
from .invalid import Invalid, require
from .layout import Layout, Tensor

ABSENT = 2**64 - 1
CHECKSUM_BYTES = 4


class Entries(NamedTuple):
    """The non-zeros of a unit or of a whole task: positions ascending, 32-bit patterns."""

    positions: list[int]
    patterns: list[int]


def index_size(chunks: int) -> int:
    """Bytes of the index at the end of every shard."""
    return 16 * chunks + CHECKSUM_BYTES


def read_index(data: bytes, chunks: int, shard_size: int) -> list[range | None]:
    """Byte ranges of the chunks of a shard; ``None`` for a chunk of zeros.

    Raises:
        Invalid: ``index-checksum`` or ``index-range``.
    """
    body, intact = split_checksum(data)
    require(intact, "index-checksum", "the index of a shard does not have its checksum")
    ranges: list[range | None] = []
    end = 0
    for start, size in struct.iter_unpack("<2Q", body):
        if (start, size) == (ABSENT, ABSENT):
            ranges.append(None)
            continue
        require(start == end, "index-range", f"a chunk at {start} where {end} is expected")
        end = start + size
        ranges.append(range(start, end))
    full = end == shard_size - index_size(chunks)
    require(full, "index-range", f"the chunks end at {end}, not where the index begins")
    return ranges


def read_chunk(
    data: bytes, element: str, length: int, exponents: Sequence[int] | None = None
) -> Frame:
    """Check and decode one chunk: a frame and its checksum.

    Raises:
        Invalid: ``frame-checksum`` or any reason of frame.md.
        NeedsBase: the frame is given the base, and ``exponents`` are missing.
    """
    body, intact = split_checksum(data)
    require(intact, "frame-checksum", "a frame does not have its checksum")
    frame = decode_frame(body, length, exponents)
    require(frame.element == element, "element-type", f"a {frame.element} frame in {element} task")
    return frame


def unit_entries(unit: Tensor, layout: Layout, frames: Sequence[Frame | None]) -> Entries:
    """Join the chunks of a unit.

    Raises:
        Invalid: ``address`` for a non-zero beyond the end of the unit.
    """
    found = Entries([], [])
    for number, frame in enumerate(frames):
        if frame is not None:
            start = number * layout.chunk_length
            found.positions.extend(start + position for position in frame.positions)
            found.patterns.extend(frame.patterns)
    if found.positions and found.positions[-1] >= unit.size:
        raise Invalid("address", f"a non-zero after the end of unit {unit.name!r}")
    return found
