"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
from tvbank.coding.header import read_header
from tvbank.layout import UnitRecord

#: Positions within a unit, int64 [nonzeros], ascending, and the entries there.
Sparse = tuple[NDArray[np.int64], NDArray[Any]]

#: Frames that one core decodes at a time.
_BATCH = 4

_Item = TypeVar("_Item")
_Place = tuple[StoredFrame, NDArray[np.int64], NDArray[Any]]


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
    reader: DeltaReader, units: Iterable[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, Sparse]:
    """As ``join``, of many units on all cores."""
    found: dict[str, Sparse] = {}

    def decode(batch: list[_Place]) -> None:
        for frame, positions, entries in batch:
            where, values = reader.decode(frame)
            np.add(where, frame.first, out=positions, dtype=np.int64)
            entries[:] = values

    places = list(_places(reader, units, found))  # first: it would take turns with the decoding
    list(pool.map(decode, _batches(places)))
    return found


def _places(
    reader: DeltaReader, units: Iterable[UnitRecord], found: dict[str, Sparse]
) -> Iterator[_Place]:
    """Every frame of every unit, and where in the unit's arrays its entries belong."""
    for unit in units:
        frames = list(reader.frames(unit))
        counts = [read_header(frame.data).nonzeros for frame in frames]
        size = sum(counts)
        positions, entries = found[unit.name] = (
            np.empty(size, np.int64),
            np.empty(size, reader.dtype),
        )
        start = 0
        for frame, count in zip(frames, counts, strict=True):
            yield frame, positions[start : start + count], entries[start : start + count]
            start += count


def fill_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape.

    They are parts of one array: the system is quicker to hand out its memory in one piece.
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
