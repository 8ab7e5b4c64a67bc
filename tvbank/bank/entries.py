"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
from tvbank.layout import UnitRecord

#: Positions within a unit, int64 [nonzeros], ascending, and the entries there.
Sparse = tuple[NDArray[np.int64], NDArray[Any]]

#: Frames that one core decodes at a time.
_BATCH = 8

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
    reader: DeltaReader, units: Iterable[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, Sparse]:
    """As ``join``, of many units on all cores."""
    from tvbank.coding import read_header

    found: dict[str, Sparse] = {}
    places: list[tuple[StoredFrame, NDArray[np.int64], NDArray[Any]]] = []
    for unit in units:
        frames = list(reader.frames(unit))
        ends = np.cumsum([0, *(read_header(frame.data).nonzeros for frame in frames)])
        found[unit.name] = np.empty(ends[-1], np.int64), np.empty(ends[-1], reader.dtype)
        positions, entries = (np.split(array, ends[1:-1]) for array in found[unit.name])
        places += zip(frames, positions, entries, strict=False)

    def decode(batch: list[tuple[StoredFrame, NDArray[np.int64], NDArray[Any]]]) -> None:
        for frame, positions, entries in batch:
            where, values = reader.decode(frame)
            np.add(where, frame.first, out=positions, dtype=np.int64)
            entries[:] = values

    list(pool.map(decode, _batches(places)))
    return found


def fill_all(
    reader: DeltaReader, units: Iterable[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape."""
    flat = {unit: np.zeros(unit.size, reader.dtype) for unit in units}

    def decode(batch: list[StoredFrame]) -> None:
        for frame in batch:
            fill(reader, [frame], flat[frame.unit])

    frames = chain.from_iterable(reader.frames(unit) for unit in flat)
    list(pool.map(decode, _batches(frames)))
    return {unit.name: dense.reshape(unit.shape) for unit, dense in flat.items()}


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
