"""Shards: frames with their checksums, one after the other, then the index.

The index holds, for every chunk of the shard, the offset and length in bytes of its frame
(checksum included) as two u64, all ones where the chunk is zero; then a CRC-32C of the index
(zarr's ``sharding_indexed`` with ``index_location: end``; spec/container.md, "Shards").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from tvbank.errors import FormatError

_ABSENT = np.uint64(2**64 - 1)
CHECKSUM_BYTES = 4
INDEX_ENTRY_BYTES = 16


def index_bytes(chunks: int) -> int:
    """Size of the index of a shard."""
    return chunks * INDEX_ENTRY_BYTES + CHECKSUM_BYTES


def crc32c(data: bytes | memoryview) -> bytes:
    """The CRC-32C of some bytes, as four little-endian bytes."""
    return int(google_crc32c.value(bytes(data))).to_bytes(CHECKSUM_BYTES, "little")


def build_shard(chunks: int, frames: Iterable[tuple[int, bytes]]) -> bytes | None:
    """Assemble a shard.

    Args:
        chunks: chunks of a whole shard.
        frames: number within the shard and frame, ascending; chunks that are zero are left out.

    Returns:
        The shard's bytes, or ``None`` if every chunk is zero.
    """
    index = np.full((chunks, 2), _ABSENT, "<u8")
    parts: list[bytes] = []
    offset = 0
    for number, frame in frames:
        index[number] = offset, len(frame) + CHECKSUM_BYTES
        parts += (frame, crc32c(frame))
        offset += len(frame) + CHECKSUM_BYTES
    if not parts:
        return None
    encoded = index.tobytes()
    return b"".join((*parts, encoded, crc32c(encoded)))


@dataclass(frozen=True)
class ShardIndex:
    """Where each chunk of a shard lies; ``ranges`` is uint64 [chunks, 2]: offset, length."""

    ranges: NDArray[np.uint64]

    def locate(self, number: int) -> tuple[int, int] | None:
        """Start and stop of a chunk's frame and checksum in the shard; ``None`` if it is zero."""
        offset, length = (int(value) for value in self.ranges[number])
        return None if offset == length == _ABSENT else (offset, offset + length)

    @property
    def frames_bytes(self) -> int:
        """Bytes of all frames and their checksums: they lie before the index."""
        numbers = np.flatnonzero(self.ranges[:, 0] != _ABSENT)
        return int(self.ranges[numbers[-1]].sum()) if len(numbers) else 0

    def encode(self) -> bytes:
        """The bytes that it was parsed from."""
        encoded = self.ranges.tobytes()
        return encoded + crc32c(encoded)

    def frames(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Number within the shard, start, and stop with its checksum, of every frame; int64."""
        numbers = np.flatnonzero(self.ranges[:, 0] != _ABSENT)
        ranges = self.ranges[numbers].astype(np.int64)
        return numbers, ranges[:, 0].copy(), ranges.sum(axis=1)


def parse_index(data: bytes, chunks: int, shard_bytes: int) -> ShardIndex:
    """Parse and check the last bytes of a shard.

    Args:
        data: the last ``index_bytes(chunks)`` bytes.
        chunks: chunks of a whole shard.
        shard_bytes: size of the whole shard.

    Raises:
        FormatError: ``index-checksum``, or ``index-range`` for frames that overlap, leave holes
            or reach beyond the index.
    """
    encoded, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(data) != index_bytes(chunks) or crc32c(encoded) != checksum:
        raise FormatError("index-checksum", "the shard's index does not have its checksum")
    ranges = np.frombuffer(encoded, "<u8").reshape(chunks, 2)
    present = ranges[(ranges != _ABSENT).any(axis=1)]
    end = shard_bytes - index_bytes(chunks)
    if len(present):
        in_bounds = bool((present <= max(end, 0)).all())  # so that the sums cannot overflow
        ends = present[:, 0] + present[:, 1]
        starts = np.concatenate([[np.uint64(0)], ends[:-1]])
        if not (in_bounds and (present[:, 0] == starts).all() and int(ends[-1]) == end):
            raise FormatError("index-range", "the shard's index does not match its frames")
    elif end:
        raise FormatError("index-range", "the shard's index names no frame, yet there are bytes")
    return ShardIndex(ranges)


def check_frame(data: bytes) -> bytes:
    """Split a frame from its checksum.

    Raises:
        FormatError: ``frame-checksum``.
    """
    frame = data[:-CHECKSUM_BYTES]
    if len(data) < CHECKSUM_BYTES or crc32c(frame) != data[-CHECKSUM_BYTES:]:
        raise FormatError("frame-checksum", "a frame does not have its checksum")
    return frame


def frames_are_sound(shard: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> bool:
    """Whether many frames of a shard all have their checksums.

    Args:
        shard: the whole shard.
        starts: where each frame begins.
        stops: where each frame's checksum ends, within the shard.
    """
    ends = stops - CHECKSUM_BYTES
    if bool((ends < starts).any()):
        return False
    recorded = np.frombuffer(shard, np.uint8)[ends[:, None] + np.arange(CHECKSUM_BYTES)]
    value = google_crc32c.value
    found = [value(shard[a:b]) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
    return bool(recorded.view("<u4").ravel().tolist() == found)
