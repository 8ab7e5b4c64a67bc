"""Reads a task's frames: one unit in two requests a shard, or everything in one request a shard.

From a store that takes its time, several shards are requested at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.ahead import WINDOW, together
from tvbank.bank.documents import CatalogEntry, ObjectRecord
from tvbank.bank.shard import ShardIndex, check_frame, index_bytes, parse_index
from tvbank.coding.header import FrameHeader, read_header
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import ObjectNotFoundError, Storage


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
class DeltaReader:
    """The delta of one task. Keeps the shard indexes that it has read.

    With ``by_shard`` it fetches whole shards and keeps the latest, for reading everything in order;
    from a store that answers several requests at once, as many as fit into ``WINDOW``.
    """

    def __init__(
        self,
        storage: Storage,
        layout: Layout,
        task: str,
        entry: CatalogEntry,
        *,
        by_shard: bool = False,
    ) -> None:
        self._storage, self._layout, self._task, self._entry = storage, layout, task, entry
        self._by_shard = by_shard
        self._indexes: dict[int, ShardIndex] = {}
        self._latest: dict[int, bytes] = {}

    def frames(self, unit: UnitRecord) -> Iterator[StoredFrame]:
        """The frames of a unit, read with one range request a shard beside the index.

        Raises:
            CorruptionError: a shard is missing, or an index or frame is damaged; says where.
        """
        stored = ((n, chunks) for n, chunks in self._shards(unit) if self._entry.shards[n])
        parallel = 1 if self._by_shard else self._storage.parallel
        while some := list(islice(stored, parallel)):
            together(parallel, [partial(self._index_of, number) for number, _ in some])
            reads = [partial(self._read, unit, number, chunks) for number, chunks in some]
            for frames in together(parallel, reads):
                yield from frames

    def decode(self, frame: StoredFrame) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Positions in a frame's chunk, ascending, and the entries there; on any thread.

        Raises:
            CorruptionError: the frame violates the format; says task, unit and byte range.
        """
        from tvbank.coding.frame import decode_sparse  # numba: only when something is decoded

        try:
            positions, values = decode_sparse(frame.data, self._layout.chunk_length)
        except FormatError as error:
            self._corrupt(error.reason, str(error), frame)
        if values.dtype != self.dtype:
            self._corrupt("element-type", f"the task's elements are {self.dtype}", frame)
        if len(positions) and frame.first + int(positions[-1]) >= frame.unit.size:
            self._corrupt("address", "there are entries beyond the end of the unit", frame)
        return positions, values

    def header(self, frame: StoredFrame) -> FrameHeader:
        """What a frame says of itself, and could be true of its chunk and unit.

        Raises:
            CorruptionError: the header violates the format; says task, unit and byte range.
        """
        try:
            header = read_header(frame.data, self._layout.chunk_length)
        except FormatError as error:
            self._corrupt(error.reason, str(error), frame)
        if header.dtype != self.dtype:
            self._corrupt("element-type", f"the task's elements are {self.dtype}", frame)
        if frame.first + header.extent > frame.unit.size:
            self._corrupt("address", "there are entries beyond the end of the unit", frame)
        return header

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of the entries."""
        return np.dtype(self._entry.element)

    @property
    def chunk_length(self) -> int:
        """Entries of a chunk."""
        return self._layout.chunk_length

    def key(self, number: int) -> str:
        """The object that holds a shard."""
        return f"tasks/{self._task}/{self._entry.revision}/delta/c/{number}"

    def _shards(self, unit: UnitRecord) -> Iterator[tuple[int, range]]:
        """The unit's chunks, grouped by the shard they lie in."""
        chunks = self._layout.chunks(unit)
        per_shard = self._layout.chunks_per_shard
        start = chunks.start
        while start < chunks.stop:
            number = start // per_shard
            stop = min(chunks.stop, (number + 1) * per_shard)
            yield number, range(start, stop)
            start = stop

    def index(self, number: int, record: ObjectRecord) -> ShardIndex:
        """The index of a shard, read once.

        Raises:
            CorruptionError: the shard is missing, or its index is damaged.
        """
        if number not in self._indexes:
            length = index_bytes(self._layout.chunks_per_shard)
            start = max(0, record.size - length)
            data = self._get(number, start, record.size)
            self._indexes[number] = self._parse(number, data, record, start)
        return self._indexes[number]

    def _index_of(self, number: int) -> ShardIndex:
        record = self._entry.shards[number]
        assert record is not None  # who asks has looked
        return self.index(number, record)

    def _parse(self, number: int, data: bytes, record: ObjectRecord, start: int) -> ShardIndex:
        try:
            return parse_index(data, self._layout.chunks_per_shard, record.size)
        except FormatError as error:
            raise CorruptionError(
                error.reason,
                f"task {self._task!r}: {self.key(number)}, bytes {start} to {record.size}: {error}",
                key=self.key(number), task=self._task, start=start, stop=record.size,
            ) from error  # fmt: skip

    def _read(self, unit: UnitRecord, number: int, chunks: range) -> Iterator[StoredFrame]:
        """The frames of these chunks; their bytes are there before the first is asked for."""
        located = self._located(number, chunks)
        if not located:
            return iter(())
        first, last = located[0][1], located[-1][2]
        data = self._get(number, first, last)
        return (
            self._frame(unit, chunk, data[start - first : stop - first], number, start)
            for chunk, start, stop in located
        )

    def _located(self, number: int, chunks: range) -> list[tuple[int, int, int]]:
        """Chunk, start and stop of the frames of these chunks that are not zero."""
        index = self._index_of(number)
        located = []
        for chunk in chunks:
            place = index.locate(chunk - number * self._layout.chunks_per_shard)
            if place is not None:
                located.append((chunk, *place))
        return located

    def _frame(
        self, unit: UnitRecord, chunk: int, data: bytes, number: int, start: int
    ) -> StoredFrame:
        first = chunk * self._layout.chunk_length - unit.offset
        key = self.key(number)
        try:
            return StoredFrame(unit, first, check_frame(data), key, start)
        except FormatError as error:
            self._corrupt(error.reason, str(error), StoredFrame(unit, first, data, key, start))

    def _get(self, number: int, start: int, stop: int) -> bytes:
        key = self.key(number)
        try:
            if not self._by_shard:
                return self._storage.get_ranges(key, [(start, stop)])[0]
            latest = self._latest  # another thread may replace it
            if number not in latest:
                latest = self._latest = self._fetch(number)
            return latest[number][start:stop]
        except ObjectNotFoundError as error:
            raise CorruptionError(
                "object-missing",
                f"task {self._task!r}: {key} is missing from the bank (or was removed since the "
                "bank was opened: open it again)",
                key=key, task=self._task,
            ) from error  # fmt: skip

    def _fetch(self, number: int) -> dict[int, bytes]:
        """A whole shard, and those after it that are worth requesting at the same time.

        One that is missing or of another size is left to be found when its turn comes.
        """
        wanted: dict[int, int] = {}
        for later in range(number, self._layout.shard_count):
            record = self._entry.shards[later]
            if record is not None:
                if wanted and (
                    len(wanted) == self._storage.parallel
                    or sum(wanted.values()) + record.size > WINDOW
                ):
                    break
                wanted[later] = record.size

        def get(shard: int) -> bytes | None:
            try:
                return self._storage.get(self.key(shard), wanted[shard])
            except ObjectNotFoundError:
                if shard == number:
                    raise
                return None

        found = together(self._storage.parallel, [partial(get, shard) for shard in wanted])
        return {shard: data for shard, data in zip(wanted, found, strict=True) if data is not None}

    def _corrupt(self, reason: str, what: str, frame: StoredFrame) -> NoReturn:
        stop = frame.start + len(frame.data)
        raise CorruptionError(
            reason,
            f"task {self._task!r}, unit {frame.unit.name!r}: {frame.key}, bytes {frame.start} to "
            f"{stop}: {what}",
            key=frame.key, task=self._task, unit=frame.unit.name, start=frame.start, stop=stop,
        )  # fmt: skip
