"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
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
    """
    positions: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    entries: list[NDArray[Any]] = [np.empty(0, reader.dtype)]
    for frame in frames:
        found, values = reader.decode(frame)
        positions.append(np.add(found, frame.first, dtype=np.int64))
        entries.append(values)
    return np.concatenate(positions), np.concatenate(entries)


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
    ends = np.cumsum([0, *(reader.header(frame).nonzeros for frame in every)]).tolist()
    positions, entries = np.empty(ends[-1], np.int64), np.empty(ends[-1], reader.dtype)

    def decode(numbers: list[int]) -> None:
        for number in numbers:
            place = slice(ends[number], ends[number + 1])
            found, values = reader.decode(every[number])
            np.add(found, every[number].first, out=positions[place], dtype=np.int64)
            entries[place] = values

    list(pool.map(decode, _batches(range(len(every)))))
    joined: dict[str, Sparse] = {}
    first = 0
    for name, of_unit in frames.items():
        last = first + len(of_unit)
        place = slice(ends[first], ends[last])
        joined[name], first = (positions[place], entries[place]), last
    return joined


def fill_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape.

    They are parts of one array: the system is quicker to hand out its memory in one piece. All
    frames are read before any is decoded, or else the two would wait for each other in turns.
    """
    ends = np.cumsum([unit.size for unit in units])
    whole = np.zeros(int(ends[-1]) if len(units) else 0, reader.dtype)
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
