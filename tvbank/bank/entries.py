"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
from tvbank.bank.room import room
from tvbank.layout import UnitRecord

#: Positions within a unit, int64 [nonzeros], ascending, and the entries there.
Sparse = tuple[NDArray[np.int64], NDArray[Any]]

#: Frames that one core decodes at a time.
_BATCH = 4

_Item = TypeVar("_Item")


def join(reader: DeltaReader, frames: Iterable[StoredFrame]) -> Sparse:
    """Positions and entries of a unit.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
        TooLargeError: there is not enough memory.
    """
    every = list(frames)
    ends, positions, entries = _room(reader, every)
    for number, frame in enumerate(every):
        _decode(reader, frame, positions[ends[number] :], entries[ends[number] :])
    return positions, entries


def fill(reader: DeltaReader, frames: Iterable[StoredFrame], dense: NDArray[Any]) -> None:
    """Put the entries of a unit into an array of zeros, [size].

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    from tvbank.bank.scatter import scatter  # numba: only when something is decoded

    for frame in frames:
        scatter(*reader.decode(frame), dense[frame.first :])


def join_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, Sparse]:
    """As ``join``, of many units on all cores; see ``fill_all``."""
    frames = {unit.name: list(reader.frames(unit)) for unit in units}
    every = [frame for of_unit in frames.values() for frame in of_unit]
    ends, positions, entries = _room(reader, every)

    def decode(numbers: list[int]) -> None:
        for number in numbers:
            _decode(reader, every[number], positions[ends[number] :], entries[ends[number] :])

    list(pool.map(decode, _batches(range(len(every)))))
    joined: dict[str, Sparse] = {}
    first = 0
    for name, of_unit in frames.items():
        last = first + len(of_unit)
        place = slice(ends[first], ends[last])
        joined[name], first = (positions[place], entries[place]), last
    return joined


def _room(
    reader: DeltaReader, frames: Sequence[StoredFrame]
) -> tuple[list[int], NDArray[np.int64], NDArray[Any]]:
    """Where the entries of each frame begin, and room for those of all of them.

    The headers tell how many there are, and the system is asked once: a few bytes can state more
    entries than there is memory for.
    """
    ends = np.cumsum([0, *(reader.header(frame).nonzeros for frame in frames)]).tolist()
    unit = repr(frames[0].unit.name) if frames else "nothing"
    what, remedy = f"what is not zero, from unit {unit} on,", "read frame by frame: Task.frames"
    positions = room(ends[-1], np.dtype(np.int64), what, remedy)
    return ends, positions, room(ends[-1], reader.dtype, what, remedy)


def _decode(
    reader: DeltaReader, frame: StoredFrame, positions: NDArray[np.int64], entries: NDArray[Any]
) -> None:
    """Decode a frame to the beginning of two arrays."""
    found, values = reader.decode(frame)
    np.add(found, frame.first, out=positions[: len(found)], dtype=np.int64)
    entries[: len(found)] = values


def fill_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape.

    They are parts of one array: the system is quicker to hand out its memory in one piece. All
    frames are read before any is decoded, or else the two would wait for each other in turns.
    """
    ends = np.cumsum([unit.size for unit in units])
    size = int(ends[-1]) if len(units) else 0
    whole = room(size, reader.dtype, "all units, dense,", "read unit by unit, or to_sparse()")
    flat = dict(zip(units, np.split(whole, ends[:-1]), strict=True)) if units else {}

    def decode(batch: list[StoredFrame]) -> None:
        for frame in batch:
            fill(reader, [frame], flat[frame.unit])

    frames = [frame for unit in units for frame in reader.frames(unit)]
    list(pool.map(decode, _batches(frames)))
    return {unit.name: dense.reshape(unit.shape) for unit, dense in flat.items()}


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
