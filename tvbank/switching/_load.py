"""A task's frames, read from the bank: checksums and headers checked, sections found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.bank import Bank
from tvbank.bank.shard import CHECKSUM_BYTES, check_frame, index_bytes, parse_index
from tvbank.bank.storage import ObjectNotFoundError
from tvbank.bank.task import Task
from tvbank.coding import decode_sparse, read_header
from tvbank.coding.fused.table import EXTENT, FRAME_COLUMNS, NONZEROS
from tvbank.coding.header import HEADER_BYTES
from tvbank.coding.sections import MASK_ENCODINGS, VALUE_ENCODINGS
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout

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
            shards of ``places``.
        chunks: int64 [frames], the number of each frame's chunk in the layout.
        units: int64 [frames], the index of each frame's unit in the layout.
        places: where each frame lies.
    """

    task: Task
    frames: NDArray[np.int64]
    chunks: NDArray[np.int64]
    units: NDArray[np.int64]
    places: list[FramePlace]

    @property
    def nbytes(self) -> int:
        """Bytes of the shards."""
        return sum({place.key: len(place.shard) for place in self.places}.values())

    def explain(self, row: int, unit: str) -> NoReturn:
        """Say what is wrong with a frame that the fused loops refused.

        Raises:
            CorruptionError: always; names task, unit, object and bytes.
        """
        place = self.places[row]
        try:
            decode_sparse(place.shard[place.start : place.stop])
        except FormatError as error:
            raise _damaged(self.task, place, unit, error.reason, str(error)) from error
        raise _damaged(self.task, place, unit, "frame-syntax", "the frame cannot be decoded")


def load_task(bank: Bank, name: str) -> LoadedTask:
    """Read all shards of a task and check what can be checked without decoding.

    Raises:
        TaskNotFoundError: the bank has no such task.
        CorruptionError: a shard is missing or damaged, or a frame does not fit the layout; says
            where.
        StorageError: the store refused.
    """
    task, layout = bank[name], bank.layout
    rows: list[tuple[int, ...]] = []
    numbers: list[int] = []
    places: list[FramePlace] = []
    for number, record in enumerate(task.document.shards):
        if record is None:
            continue
        key = f"tasks/{name}/{task.revision}/delta/c/{number}"
        shard = _read(bank, task, key, record.size)
        address = int(np.frombuffer(shard, np.uint8).__array_interface__["data"][0])
        for chunk, start, stop in _index(bank, task, key, shard):
            place = FramePlace(key, shard, start, stop - CHECKSUM_BYTES)
            try:
                header = read_header(check_frame(shard[start:stop]), layout.chunk_length)
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
            rows.append(
                (
                    _MASK_IDS[header.mask], _VALUE_IDS[header.values], header.mask_parameter,
                    header.value_parameter, header.extent, header.nonzeros, address + mask_at,
                    header.mask_bytes, address + values_at, place.stop - values_at,
                )
            )  # fmt: skip
            numbers.append(number * layout.chunks_per_shard + chunk)
            places.append(place)
    frames = np.array(rows, np.int64).reshape(len(rows), FRAME_COLUMNS)
    chunks = np.array(numbers, np.int64)
    units = _units(layout, task, frames, chunks, places)
    return LoadedTask(task, frames, chunks, units, places)


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


def _index(bank: Bank, task: Task, key: str, shard: bytes) -> list[tuple[int, int, int]]:
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
    present = np.flatnonzero((ranges != _ABSENT).any(axis=1))
    starts = ranges[present, 0]
    stops = starts + ranges[present, 1]
    return list(zip(present.tolist(), starts.tolist(), stops.tolist(), strict=True))


def _units(
    layout: Layout,
    task: Task,
    frames: NDArray[np.int64],
    chunks: NDArray[np.int64],
    places: list[FramePlace],
) -> NDArray[np.int64]:
    """The unit of every frame, once no frame reaches beyond its own."""
    offsets = np.array([unit.offset for unit in layout.units], np.int64)
    sizes = np.array([unit.size for unit in layout.units], np.int64)
    firsts = chunks * layout.chunk_length
    # Of units that start at the same place all but the last are empty.
    units = np.searchsorted(offsets, firsts, side="right") - 1
    room = sizes[units] + offsets[units] - firsts
    replaced = np.array([unit.name in task.extras for unit in layout.units], np.bool_)
    wrong = (frames[:, EXTENT] > room) | (frames[:, NONZEROS] > 0) & replaced[units]
    for row in np.flatnonzero(wrong).tolist():
        unit = layout.units[units[row]].name
        if unit in task.extras:
            what = "the task keeps the unit whole, and yet there are entries"
        else:
            what = "there are entries beyond the end of the unit"
        raise _damaged(task, places[row], unit, "address", what)
    return units


def _damaged(
    task: Task, place: FramePlace, unit: str | None, reason: str, what: str
) -> CorruptionError:
    whose = f"task {task.name!r}" + (f", unit {unit!r}" if unit else "")
    return CorruptionError(
        reason,
        f"{whose}: {place.key}, bytes {place.start} to {place.stop}: {what}",
        key=place.key, task=task.name, unit=unit, start=place.start, stop=place.stop,
    )  # fmt: skip
