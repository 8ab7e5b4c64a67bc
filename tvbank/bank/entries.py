"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import DeltaReader, StoredFrame
from tvbank.bank.room import room, rooms, working_bytes
from tvbank.layout import UnitRecord

#: Positions within a unit, int64 [nonzeros], ascending, and the entries there.
Sparse = tuple[NDArray[np.int64], NDArray[Any]]

#: Calls that all frames are decoded in, so that the cores end together.
_PARTS = 16

#: What a frame may cost beside its non-zeros, in non-zeros: there are symbols for each column.
_FRAME_WORK = 2**12

#: Work of one call at most, in non-zeros: an interrupt waits for the calls under way.
_MOST_WORK = 2**22

#: Frames that one core decodes at a time.
_BATCH = 4

_Item = TypeVar("_Item")


def join(reader: DeltaReader, frames: Iterable[StoredFrame]) -> Sparse:
    """Positions and entries of a unit.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
        TooLargeError: there is not enough memory.
    """
    _, positions, entries = _join(reader, list(frames), map)
    return positions, entries


def fill(reader: DeltaReader, frames: Iterable[StoredFrame], dense: NDArray[Any]) -> None:
    """Put the entries of a unit into an array of zeros, [size].

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    placed = ((frame, frame.first) for frame in frames)
    for batch in _batches(placed):
        _fill(reader, batch, dense)


def join_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, Sparse]:
    """As ``join``, of many units on all cores; see ``fill_all``."""
    with reader.ahead(pool):
        frames = {unit.name: list(reader.frames(unit)) for unit in units}
        every = [frame for of_unit in frames.values() for frame in of_unit]
        ends, positions, entries = _join(reader, every, pool.map)
    joined: dict[str, Sparse] = {}
    first = 0
    for name, of_unit in frames.items():
        last = first + len(of_unit)
        place = slice(ends[first], ends[last])
        joined[name], first = (positions[place], entries[place]), last
    return joined


def _join(
    reader: DeltaReader, frames: Sequence[StoredFrame], run: Callable[..., Iterator[Any]]
) -> tuple[list[int], NDArray[np.int64], NDArray[Any]]:
    """Where the entries of each frame begin, and of all frames positions and entries.

    Memory is taken once the headers have said how much, and the system is asked whether there is
    as much: a few bytes can state more entries than there is memory for.
    """
    # numba: only when something is decoded
    from tvbank.coding.decoding.decode import decode_entries
    from tvbank.coding.decoding.positions import run_tables_address
    from tvbank.coding.decoding.table import address_of

    batch = reader.batch(frames)
    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(batch.nonzeros)))
    count = int(ends[-1])
    unit = repr(frames[0].unit.name) if frames else "nothing"
    what, remedy = f"what is not zero, from unit {unit} on,", "read frame by frame: Task.frames"
    longest = max((frame.unit.size for frame in frames), default=0)
    positions, entries = rooms(
        [(count, np.dtype(np.int64)), (count, reader.dtype)], what, remedy,
        working_bytes(reader.chunk_length, longest),
    )  # fmt: skip
    offsets = np.array([frame.first for frame in frames], np.int64)
    work = ends + _FRAME_WORK * np.arange(len(ends))
    parts = max(_PARTS, int(work[-1]) // _MOST_WORK)
    edges = np.searchsorted(work, work[-1] * np.arange(parts + 1) // parts)
    edges[0], edges[-1] = 0, len(frames)

    def decode(first: int, last: int) -> tuple[int, int]:
        fault: tuple[int, int] = decode_entries(
            batch.table, first, last, ends, offsets, reader.dtype == np.float32,
            address_of(positions), address_of(entries), run_tables_address(),
        )  # fmt: skip
        return fault

    for row, code in run(decode, edges[:-1].tolist(), edges[1:].tolist()):
        if row >= 0:
            reader.refuse(code, frames[row])
    return ends.tolist(), positions, entries


def fill_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape.

    They are parts of one array: the system is quicker to hand out its memory in one piece. All
    frames are read before any is decoded, or else the two would wait for each other in turns.
    """
    ends = np.cumsum([unit.size for unit in units])
    size = int(ends[-1]) if len(units) else 0
    dense = room(
        size, reader.dtype, "all units, dense,", "read unit by unit, or to_sparse()",
        working_bytes(reader.chunk_length, max((unit.size for unit in units), default=0)),
    )  # fmt: skip
    flat = dict(zip(units, np.split(dense, ends[:-1]), strict=True)) if units else {}
    starts = dict(zip(units, [0, *ends[:-1].tolist()], strict=True)) if units else {}
    with reader.ahead(pool):
        placed = [
            (frame, starts[unit] + frame.first) for unit in units for frame in reader.frames(unit)
        ]
        list(pool.map(lambda batch: _fill(reader, batch, dense), _batches(placed)))
    return {unit.name: part.reshape(unit.shape) for unit, part in flat.items()}


def _fill(
    reader: DeltaReader, placed: Sequence[tuple[StoredFrame, int]], dense: NDArray[Any]
) -> None:
    """Put the entries of some frames into an array of zeros, given where each chunk begins."""
    # numba: only when something is decoded
    from tvbank.coding.decoding.decode import decode_dense
    from tvbank.coding.decoding.positions import run_tables_address
    from tvbank.coding.decoding.table import address_of

    frames = [frame for frame, _ in placed]
    batch = reader.batch(frames)
    offsets = np.array([offset for _, offset in placed], np.int64)
    scratch = np.empty(2 * int(batch.nonzeros.max(initial=0)), np.uint32)
    row, code = decode_dense(
        batch.table, 0, len(frames), offsets, reader.dtype == np.float32, address_of(dense),
        address_of(scratch), run_tables_address(),
    )  # fmt: skip
    if row >= 0:
        reader.refuse(code, frames[row])


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
