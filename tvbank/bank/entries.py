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

#: Where the entries of each frame begin, and of all frames positions and entries.
_Joined = tuple[list[int], NDArray[np.int64], NDArray[Any]]

#: Calls that all frames are decoded in, so that the cores end together.
_PARTS = 16

#: Frames that one core decodes at a time.
_BATCH = 4

_Item = TypeVar("_Item")


def join(reader: DeltaReader, frames: Iterable[StoredFrame]) -> Sparse:
    """Positions and entries of a unit.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
        TooLargeError: there is not enough memory.
    """
    _, positions, entries = _join_each(reader, list(frames))
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
    ends, positions, entries = _join_at_once(reader, every, pool) or _join_each(reader, every)
    joined: dict[str, Sparse] = {}
    first = 0
    for name, of_unit in frames.items():
        last = first + len(of_unit)
        place = slice(ends[first], ends[last])
        joined[name], first = (positions[place], entries[place]), last
    return joined


def _join_each(reader: DeltaReader, frames: Sequence[StoredFrame]) -> _Joined:
    """Frame by frame, so that what is wrong with one can be said."""
    ends, positions, entries = _room(reader, frames)
    for number, frame in enumerate(frames):
        _decode(reader, frame, positions[ends[number] :], entries[ends[number] :])
    return ends, positions, entries


def _join_at_once(
    reader: DeltaReader, frames: Sequence[StoredFrame], pool: ThreadPoolExecutor
) -> _Joined | None:
    """All frames in a few calls; ``None`` if there are none, or if one is not valid."""
    from tvbank.coding.decoding.batch import batch_of  # numba: only when something is decoded

    is_float = reader.dtype == np.float32
    batch = batch_of([frame.data for frame in frames], reader.chunk_length, is_float)
    if batch is None or not frames:
        return None
    offsets = np.array([frame.first for frame in frames], np.int64)
    sizes = np.array([frame.unit.size for frame in frames], np.int64)
    if (offsets + batch.extents > sizes).any():
        return None
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(batch.nonzeros)))
    positions, entries = _arrays(reader, frames, int(ends[-1]))
    edges = np.searchsorted(ends, ends[-1] * np.arange(_PARTS + 1) // _PARTS)
    edges[-1] = len(frames)

    def decode(first: int, last: int) -> bool:
        return batch.decode(first, last, ends, offsets, is_float, positions, entries)

    whole = all(pool.map(decode, edges[:-1].tolist(), edges[1:].tolist()))
    return (ends.tolist(), positions, entries) if whole else None


def _room(reader: DeltaReader, frames: Sequence[StoredFrame]) -> _Joined:
    """Where the entries of each frame begin, and room for those of all of them.

    The headers tell how many there are, and the system is asked once: a few bytes can state more
    entries than there is memory for.
    """
    ends = np.cumsum([0, *(reader.header(frame).nonzeros for frame in frames)]).tolist()
    return ends, *_arrays(reader, frames, ends[-1])


def _arrays(
    reader: DeltaReader, frames: Sequence[StoredFrame], count: int
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    unit = repr(frames[0].unit.name) if frames else "nothing"
    what, remedy = f"what is not zero, from unit {unit} on,", "read frame by frame: Task.frames"
    positions = room(count, np.dtype(np.int64), what, remedy)
    return positions, room(count, reader.dtype, what, remedy)


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
