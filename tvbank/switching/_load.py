"""A task's frames, read from the bank: checksums and headers checked, sections found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.bank import Bank
from tvbank.bank.shard import (
    CHECKSUM_BYTES,
    check_frame,
    frames_are_sound,
    index_bytes,
    parse_index,
)
from tvbank.bank.task import Task
from tvbank.coding import decode_sparse, read_header
from tvbank.coding.decoding.batch import address_of
from tvbank.coding.decoding.headers import read_headers
from tvbank.coding.decoding.table import EXTENT, FRAME_COLUMNS, NONZEROS
from tvbank.coding.header import HEADER_BYTES
from tvbank.coding.sections import MASK_ENCODINGS, VALUE_ENCODINGS
from tvbank.errors import CorruptionError, FormatError
from tvbank.storage import ObjectNotFoundError

_MASK_IDS = {name: number for number, name in enumerate(MASK_ENCODINGS)}
_VALUE_IDS = {name: number for number, name in enumerate(VALUE_ENCODINGS)}
_ABSENT = np.uint64(2**64 - 1)


@final
@dataclass(frozen=True)
class FramePlace:
    """Where a frame lies: the bytes of its shard, and start and stop in them."""

    key: str
    shard: bytes
    start: int
    stop: int


@final
@dataclass(frozen=True)
class LoadedTask:
    """The frames of a task in memory.

    Attributes:
        task: as the bank gave it.
        frames: int64 [frames, ``FRAME_COLUMNS``], by ascending chunk; the addresses lead into the
            shards.
        chunks: int64 [frames], the number of each frame's chunk in the layout.
        units: int64 [frames], the index of each frame's unit in the layout.
        shards: key and bytes of each shard.
        shard_of: int64 [frames], which of the shards each frame lies in.
        ranges: int64 [frames, 2], start and stop of each frame in its shard.
    """

    task: Task
    frames: NDArray[np.int64]
    chunks: NDArray[np.int64]
    units: NDArray[np.int64]
    shards: list[tuple[str, bytes]]
    shard_of: NDArray[np.int64]
    ranges: NDArray[np.int64]

    @property
    def nbytes(self) -> int:
        """Bytes of the shards."""
        return sum(len(shard) for _, shard in self.shards)

    def place(self, row: int) -> FramePlace:
        """Where a frame lies."""
        return FramePlace(*self.shards[self.shard_of[row]], *map(int, self.ranges[row]))

    def explain(self, row: int, unit: str) -> NoReturn:
        """Say what is wrong with a frame that the fused loops refused.

        Raises:
            CorruptionError: always; names task, unit, object and bytes.
        """
        place = self.place(row)
        try:
            decode_sparse(place.shard[place.start : place.stop])
        except FormatError as error:
            raise _damaged(self.task, place, unit, error.reason, str(error)) from error
        raise _damaged(self.task, place, unit, "frame-syntax", "the frame cannot be decoded")


@final
class Loader:
    """Reads tasks of one bank."""

    def __init__(self, bank: Bank) -> None:
        """Lay out what every task is compared with."""
        self._bank, layout = bank, bank.layout
        self._starts = np.array([unit.offset for unit in layout.units], np.int64)
        self._stops = np.array([unit.offset + unit.size for unit in layout.units], np.int64)
        self._numbers = {unit.name: number for number, unit in enumerate(layout.units)}

    def load(self, name: str) -> LoadedTask:
        """Read all shards of a task and check what can be checked without decoding.

        Raises:
            TaskNotFoundError: the bank has no such task.
            CorruptionError: a shard is missing or damaged, or a frame does not fit the layout;
                says where.
            StorageError: the store refused.
        """
        task, layout = self._bank[name], self._bank.layout
        found: list[tuple[NDArray[np.int64], ...]] = [_NOTHING]
        shards: list[tuple[str, bytes]] = []
        for number, record in enumerate(task.document.shards):
            if record is None:
                continue
            key = f"tasks/{name}/{task.revision}/delta/c/{number}"
            shard = _read(self._bank, task, key, record.size)
            chunks, starts, stops = _index(self._bank, task, key, shard)
            table = _table(task, key, shard, starts, stops, layout.chunk_length)
            ranges = np.stack((starts, stops - CHECKSUM_BYTES), axis=1)
            which = np.full(len(chunks), len(shards), np.int64)
            found.append((table, chunks + number * layout.chunks_per_shard, which, ranges))
            shards.append((key, shard))
        frames, chunks, which, ranges = (np.concatenate(each) for each in zip(*found, strict=True))
        firsts = chunks * layout.chunk_length
        # Of units that start at the same place all but the last are empty.
        units = np.searchsorted(self._starts, firsts, side="right") - 1
        loaded = LoadedTask(task, frames, chunks, units, shards, which, ranges)
        self._check_units(loaded)
        return loaded

    def _check_units(self, loaded: LoadedTask) -> None:
        """Check that no frame reaches beyond its unit, or has entries of one that is kept whole.

        Raises:
            CorruptionError: one does; says where.
        """
        extras = loaded.task.extras
        firsts = loaded.chunks * self._bank.layout.chunk_length
        wrong = firsts + loaded.frames[:, EXTENT] > self._stops[loaded.units]
        replaced = [self._numbers[name] for name in extras if name in self._numbers]
        if replaced:
            wrong |= (loaded.frames[:, NONZEROS] > 0) & np.isin(loaded.units, replaced)
        for row in np.flatnonzero(wrong).tolist():
            unit = self._bank.layout.units[loaded.units[row]].name
            if unit in extras:
                what = "the task keeps the unit whole, and yet there are entries"
            else:
                what = "there are entries beyond the end of the unit"
            raise _damaged(loaded.task, loaded.place(row), unit, "address", what)


_NOTHING = (
    np.empty((0, FRAME_COLUMNS), np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty((0, 2), np.int64),
)


def _table(
    task: Task,
    key: str,
    shard: bytes,
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    chunk_length: int,
) -> NDArray[np.int64]:
    """The table of a shard's frames, from their checked headers."""
    table = np.empty((len(starts), FRAME_COLUMNS), np.int64)
    address = address_of(np.frombuffer(shard, np.uint8))
    is_float = task.element == "float32"
    ends = stops - CHECKSUM_BYTES
    if frames_are_sound(shard, starts, stops) and read_headers(
        address, starts, ends, chunk_length, is_float, table
    ):
        return table
    for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
        place = FramePlace(key, shard, start, stop - CHECKSUM_BYTES)
        table[row] = _row(task, place, shard[start:stop], int(address), chunk_length)
    return table


def _row(
    task: Task, place: FramePlace, data: bytes, address: int, chunk_length: int
) -> tuple[int, ...]:
    """The row of one frame.

    Raises:
        CorruptionError: its checksum or its header is wrong; says how.
    """
    try:
        header = read_header(check_frame(data), chunk_length)
    except FormatError as error:
        raise _damaged(task, place, None, error.reason, str(error)) from error
    if header.element != task.element:
        what = f"the task's elements are {task.element}"
        raise _damaged(task, place, None, "element-type", what)
    mask_at = place.start + HEADER_BYTES
    values_at = mask_at + header.mask_bytes
    if values_at > place.stop:
        what = "the frame ends within its mask section"
        raise _damaged(task, place, None, "frame-truncated", what)
    return (
        _MASK_IDS[header.mask], _VALUE_IDS[header.values], header.mask_parameter,
        header.value_parameter, header.extent, header.nonzeros, address + mask_at,
        header.mask_bytes, address + values_at, place.stop - values_at,
    )  # fmt: skip


def _read(bank: Bank, task: Task, key: str, size: int) -> bytes:
    try:
        shard = bank.storage.get(key, size)
    except ObjectNotFoundError as error:
        what = (
            f"task {task.name!r}: {key} is missing from the bank (or was removed since the bank "
            "was opened: open it again)"
        )
        raise CorruptionError("object-missing", what, key=key, task=task.name) from error
    if len(shard) != size:
        what = f"task {task.name!r}: {key} has not the {size} bytes that the bank recorded"
        raise CorruptionError("object-size", what, key=key, task=task.name)
    return shard


def _index(
    bank: Bank, task: Task, key: str, shard: bytes
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Chunk within the shard, start and stop of every frame with its checksum."""
    count = bank.layout.chunks_per_shard
    begin = max(0, len(shard) - index_bytes(count))
    try:
        ranges = parse_index(shard[begin:], count, len(shard)).ranges
    except FormatError as error:
        what = f"task {task.name!r}: {key}, bytes {begin} to {len(shard)}: {error}"
        raise CorruptionError(
            error.reason, what, key=key, task=task.name, start=begin, stop=len(shard)
        ) from error
    present = np.flatnonzero(ranges[:, 0] != _ABSENT)
    found = ranges[present].astype(np.int64)
    return present, found[:, 0].copy(), found.sum(axis=1)


def _damaged(
    task: Task, place: FramePlace, unit: str | None, reason: str, what: str
) -> CorruptionError:
    whose = f"task {task.name!r}" + (f", unit {unit!r}" if unit else "")
    return CorruptionError(
        reason,
        f"{whose}: {place.key}, bytes {place.start} to {place.stop}: {what}",
        key=place.key, task=task.name, unit=unit, start=place.start, stop=place.stop,
    )  # fmt: skip
