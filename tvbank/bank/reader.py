"""Reads a task's frames: one unit in two requests a shard, or everything in one request a shard.

``DeltaReader.frames`` gives a unit's frames one by one; ``DeltaReader.all_frames`` gives those of
the whole task at once, laid out for the compiled loops.

From a store that takes its time, several shards are requested at once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.ahead import together
from tvbank.bank.documents import CatalogEntry, ObjectRecord
from tvbank.bank.frames import StoredFrame, TaskFrames
from tvbank.bank.shard import (
    CHECKSUM_BYTES,
    ShardIndex,
    check_frame,
    frames_are_sound,
    index_bytes,
    parse_index,
)
from tvbank.bank.snapshot import check_digest, missing
from tvbank.bank.whole import WholeShards
from tvbank.coding.faults import raise_fault
from tvbank.coding.header import GIVEN_BASE, FrameHeader, read_header
from tvbank.errors import BaseNeededError, CorruptionError, FormatError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import ObjectNotFoundError, Storage

if TYPE_CHECKING:
    from tvbank.coding.decoding.table import Batch

#: Bytes of the shards' indexes that a reader keeps, beside the latest one.
INDEXES = 2**22

_BEYOND = "there are entries beyond the end of the unit"


@final
class DeltaReader:
    """The delta of one task. Keeps the latest of the shard indexes that it has read.

    With ``by_shard`` it fetches whole shards, checks their digests and keeps the latest, for
    reading everything in order; from a store that answers several requests at once, as many as fit
    into ``WINDOW``. Otherwise it relies on checksums, but where a range takes in all frames.
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
        self._whole = WholeShards(storage, task, entry, self.key, self._damage)
        self._indexes: OrderedDict[int, ShardIndex] = OrderedDict()
        self._lock = threading.Lock()

    def frames(self, unit: UnitRecord) -> Iterator[StoredFrame]:
        """The frames of a unit, read with one range request a shard beside the index.

        Raises:
            CorruptionError: a shard is missing, or an index or frame is damaged; says where.
        """
        stored = ((n, r, c) for n, c in self._shards(unit) if (r := self._entry.shards[n]))
        parallel = 1 if self._by_shard else self._storage.parallel
        while some := list(islice(stored, parallel)):
            each = together(parallel, [partial(self.index, number, r) for number, r, _ in some])
            reads = [
                partial(self._read, unit, number, record, index, chunks)
                for (number, record, chunks), index in zip(some, each, strict=True)
            ]
            for frames in together(parallel, reads):
                yield from frames

    def ahead(self, pool: ThreadPoolExecutor) -> AbstractContextManager[None]:
        """Within, whole shards are hashed on a pool while their frames are read and decoded.

        See ``WholeShards.ahead``: what is decoded stays within.
        """
        return self._whole.ahead(pool)

    def all_frames(self) -> TaskFrames:
        """All frames of the task, read shard by shard and checked, but not decoded or copied.

        Raises:
            CorruptionError: a shard is missing, an index, checksum or header is wrong, a frame
                reaches beyond its unit, or has entries of a unit that the task keeps whole; says
                where.
        """
        from tvbank.coding.decoding.table import (  # numba: only when something is decoded
            EXTENT,
            FRAME_COLUMNS,
            NONZEROS,
            address_of,
            read_headers,
        )

        layout = self._layout
        nothing = np.empty(0, np.int64)
        found = [(np.empty((0, FRAME_COLUMNS), np.int64), nothing, nothing, nothing, nothing)]
        numbered = [(n, record) for n, record in enumerate(self._entry.shards) if record]
        shards: list[bytes] = []
        sound = True
        for number, record in numbered:
            shard = self._whole.get(number, record)
            chunks, starts, stops = self.index(number, record).frames()
            ends = stops - CHECKSUM_BYTES
            table = np.empty((len(chunks), FRAME_COLUMNS), np.int64)
            sound &= frames_are_sound(shard, starts, stops) and read_headers(
                address_of(np.frombuffer(shard, np.uint8)), starts, ends, layout.chunk_length,
                self.dtype == np.float32, table,
            )  # fmt: skip
            which = np.full(len(chunks), len(shards), np.int64)
            found.append((table, chunks + number * layout.chunks_per_shard, which, starts, ends))
            shards.append(shard)
        tables, chunks, which, starts, ends = (
            np.concatenate(parts) for parts in zip(*found, strict=True)
        )
        offsets = np.array([unit.offset for unit in layout.units], np.int64)
        ends_of_units = offsets + np.array([unit.size for unit in layout.units], np.int64)
        replaced = np.array([unit.name in self._entry.replaced for unit in layout.units], np.bool_)
        firsts = chunks * layout.chunk_length
        # Of units that begin at the same place all but the last are empty.
        units = np.searchsorted(offsets, firsts, side="right") - 1
        frames = TaskFrames(
            layout, tables, chunks, units, tuple(self.key(n) for n, _ in numbered), tuple(shards),
            which, np.stack((starts, ends), axis=1),
        )  # fmt: skip
        if not sound:
            self._refuse(frames)
        for row in np.flatnonzero(firsts + tables[:, EXTENT] > ends_of_units[units]).tolist():
            self._corrupt("address", _BEYOND, frames[row])
        for row in np.flatnonzero(replaced[units] & (tables[:, NONZEROS] > 0)).tolist():
            what = "the task keeps the unit whole, and yet there are entries"
            self._corrupt("address", what, frames[row])
        return frames

    def _refuse(self, frames: TaskFrames) -> NoReturn:
        """Say which of some frames, not all of which are sound, is the first that is not."""
        for row, (shard, (start, end)) in enumerate(
            zip(frames.shard_of.tolist(), frames.ranges.tolist(), strict=True)
        ):
            frame = frames[row]
            try:
                check_frame(frames.shards[shard][start : end + CHECKSUM_BYTES])
            except FormatError as error:
                self._corrupt(error.reason, str(error), frame)
            self.decode(frame)
        raise AssertionError("all frames are valid, and yet a header was refused")

    def batch(self, frames: Sequence[StoredFrame]) -> Batch:
        """Frames in one piece of memory, with the table that the decoder reads.

        Raises:
            CorruptionError: a header violates the format, or a frame does not fit its unit; says
                task, unit and byte range.
        """
        from tvbank.coding.decoding.table import batch_of  # numba: only when something is decoded

        is_float = self.dtype == np.float32
        batch = batch_of([frame.data for frame in frames], self.chunk_length, is_float)
        if batch is not None:
            remaining = np.array([frame.unit.size - frame.first for frame in frames], np.int64)
            if (batch.extents <= remaining).all():
                return batch
        for frame in frames:
            self.decode(frame)
        raise AssertionError("all frames are valid, and yet one was refused")

    def refuse(self, code: int, frame: StoredFrame) -> NoReturn:
        """Say what is wrong with a frame, given what the decoder returned.

        Raises:
            CorruptionError: always; says task, unit and byte range.
        """
        try:
            raise_fault(code)
        except BaseNeededError:
            raise self._base_needed() from None
        except FormatError as error:
            self._corrupt(error.reason, str(error), frame)
        raise AssertionError("a valid frame was refused")

    def decode(
        self, frame: StoredFrame, base: NDArray[Any] | None = None
    ) -> tuple[NDArray[np.uint32], NDArray[Any]]:
        """Positions in a frame's chunk, ascending, and the entries there; on any thread.

        Args:
            frame: of this task.
            base: the weights of its chunk that the task starts from, [n], for frames that are given
                them.

        Raises:
            CorruptionError: the frame violates the format; says task, unit and byte range.
            BaseNeededError: the frame is given the base, and there is none.
        """
        from tvbank.coding.frame import decode_sparse  # numba: only when something is decoded

        try:
            header = read_header(frame.data, self._layout.chunk_length)
            if not header.given_base:
                base = None
            elif base is None:
                raise self._base_needed()
            elif base.size < header.extent:
                self._corrupt("address", _BEYOND, frame)
            positions, values = decode_sparse(frame.data, self._layout.chunk_length, base)
        except FormatError as error:
            self._corrupt(error.reason, str(error), frame)
        if values.dtype != self.dtype:
            self._corrupt("element-type", f"the task's elements are {self.dtype}", frame)
        if len(positions) and frame.first + int(positions[-1]) >= frame.unit.size:
            self._corrupt("address", _BEYOND, frame)
        return positions, values

    @property
    def needs_base(self) -> bool:
        """Whether some frames can be decoded only beside the weights that the task starts from."""
        return GIVEN_BASE in self._entry.features

    def _base_needed(self) -> BaseNeededError:
        return BaseNeededError(
            f"task {self._task!r} was stored given the base, so its entries can be read only "
            "beside the base's weights: pass base= the weights that the bank was created with; "
            "export, merge and attach have them. Exact(standalone=True) stores what needs no base"
        )

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
            self._corrupt("address", _BEYOND, frame)
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
        """The index of a shard, of which the catalog has this record; kept for a while.

        Raises:
            CorruptionError: the shard is missing, or its index is damaged.
        """
        with self._lock:
            index = self._indexes.get(number)
        length = index_bytes(self._layout.chunks_per_shard)
        if index is None:
            start = max(0, record.size - length)
            index = self._parse(
                number, self._get(number, record, start, record.size), record, start
            )
        with self._lock:
            self._indexes[number] = index
            self._indexes.move_to_end(number)
            while len(self._indexes) > max(1, INDEXES // length):
                self._indexes.popitem(last=False)
        return index

    def _parse(self, number: int, data: bytes, record: ObjectRecord, start: int) -> ShardIndex:
        try:
            return parse_index(data, self._layout.chunks_per_shard, record.size)
        except FormatError as error:
            raise CorruptionError(
                error.reason,
                f"task {self._task!r}: {self.key(number)}, bytes {start} to {record.size}: {error}",
                key=self.key(number), task=self._task, start=start, stop=record.size,
            ) from error  # fmt: skip

    def _damage(self, number: int, shard: bytes) -> str:
        """Which frame of a damaged shard fails its checksum first; empty if none does."""
        layout = self._layout
        start = max(0, len(shard) - index_bytes(layout.chunks_per_shard))
        try:
            index = parse_index(shard[start:], layout.chunks_per_shard, len(shard))
        except FormatError:
            return f"; so is its index (bytes {start} to {len(shard)})"
        chunks, starts, stops = index.frames()
        for row, chunk in enumerate((chunks + number * layout.chunks_per_shard).tolist()):
            if not frames_are_sound(shard, starts[row : row + 1], stops[row : row + 1]):
                unit = next(unit for unit in layout.units if chunk in layout.chunks(unit))
                return f"; so is unit {unit.name!r} there (bytes {starts[row]} to {stops[row]})"
        return ""

    def _read(
        self, unit: UnitRecord, number: int, record: ObjectRecord, index: ShardIndex, chunks: range
    ) -> Iterator[StoredFrame]:
        """The frames of these chunks; their bytes are there before the first is asked for."""
        located = self._located(number, index, chunks)
        if not located:
            return iter(())
        first, last = located[0][1], located[-1][2]
        data = self._get(number, record, first, last)
        if not self._by_shard and len(data) == index.frames_bytes:  # then the digest is known, too
            shard = data + index.encode()
            damage = partial(self._damage, number, shard)
            check_digest(shard, self.key(number), record, self._task, damage)
        return (
            self._frame(unit, chunk, data[start - first : stop - first], number, start)
            for chunk, start, stop in located
        )

    def _located(self, number: int, index: ShardIndex, chunks: range) -> list[tuple[int, int, int]]:
        """Chunk, start and stop of the frames of these chunks that are not zero."""
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

    def _get(self, number: int, record: ObjectRecord, start: int, stop: int) -> bytes:
        if self._by_shard:
            return self._whole.get(number, record)[start:stop]
        try:
            return self._storage.get_ranges(self.key(number), [(start, stop)])[0]
        except ObjectNotFoundError as error:
            raise missing(self.key(number), self._task) from error

    def _corrupt(self, reason: str, what: str, frame: StoredFrame) -> NoReturn:
        stop = frame.start + len(frame.data)
        raise CorruptionError(
            reason,
            f"task {self._task!r}, unit {frame.unit.name!r}: {frame.key}, bytes {frame.start} to "
            f"{stop}: {what}",
            key=frame.key, task=self._task, unit=frame.unit.name, start=frame.start, stop=stop,
        )  # fmt: skip
