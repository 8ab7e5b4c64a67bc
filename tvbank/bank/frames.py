"""Frames as they are stored, checked and undecoded: one of a unit, or all of a task in a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.layout import Layout, UnitRecord


@dataclass(frozen=True)
class StoredFrame:
    """One checked frame of a unit.

    Attributes:
        unit: whose entries it holds.
        first: position within the unit of the chunk's first entry.
        data: the frame, without its checksum.
        key: the shard's object.
        start: offset in bytes of the frame in that object.
    """

    unit: UnitRecord
    first: int
    data: bytes
    key: str
    start: int


@final
@dataclass(frozen=True)
class TaskFrames:
    """All frames of a task, by ascending chunk: checksums, headers and extents are checked.

    Attributes:
        layout: of the base.
        table: int64 [frames, ``FRAME_COLUMNS``], see ``coding.decoding.table``; its addresses lead
            into the shards.
        chunks: int64 [frames], the number of each frame's chunk in the layout.
        units: int64 [frames], the index of each frame's unit in the layout.
        keys: the object of each shard.
        shards: the bytes of each shard, to be kept as long as the table is used.
        shard_of: int64 [frames], which of the shards each frame lies in.
        ranges: int64 [frames, 2], start and stop of each frame in its shard.
    """

    layout: Layout
    table: NDArray[np.int64]
    chunks: NDArray[np.int64]
    units: NDArray[np.int64]
    keys: tuple[str, ...]
    shards: tuple[bytes, ...]
    shard_of: NDArray[np.int64]
    ranges: NDArray[np.int64]

    @property
    def firsts(self) -> NDArray[np.int64]:
        """Position within its unit of each chunk's first entry, int64 [frames]."""
        offsets = np.array([unit.offset for unit in self.layout.units], np.int64)
        return self.chunks * self.layout.chunk_length - offsets[self.units]

    def __getitem__(self, row: int) -> StoredFrame:
        """A copy of one frame."""
        shard, (start, stop) = int(self.shard_of[row]), self.ranges[row].tolist()
        unit = self.layout.units[self.units[row]]
        first = int(self.chunks[row]) * self.layout.chunk_length - unit.offset
        data = self.shards[shard][start:stop]
        return StoredFrame(unit, first, data, self.keys[shard], start)
