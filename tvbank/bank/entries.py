"""The entries of units, put together from their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.allocating import working_bytes, zeros, zeros_of_all
from tvbank.bank.frames import StoredFrame, TaskFrames
from tvbank.bank.reader import DeltaReader
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


def join(reader: DeltaReader, frames: Iterable[StoredFrame]) -> Sparse:
    """Positions and entries of a unit.

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
        TooLargeError: there is not enough memory.
    """
    frames = list(frames)
    firsts = np.array([frame.first for frame in frames], np.int64)
    batch = reader.batch(frames)
    _, positions, entries = _join(reader, batch.table, firsts, frames, map)
    return positions, entries


def fill(reader: DeltaReader, frames: Iterable[StoredFrame], dense: NDArray[Any]) -> None:
    """Put the entries of a unit into an array of zeros, [size].

    Raises:
        CorruptionError: a frame violates the format; says task, unit and byte range.
    """
    remaining = iter(frames)
    while some := list(islice(remaining, _BATCH)):
        firsts = np.array([frame.first for frame in some], np.int64)
        batch = reader.batch(some)
        _fill(reader, batch.table, firsts, some, dense, 0)


def join_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, Sparse]:
    """As ``join``, of many units on all cores; see ``fill_all``."""
    with reader.ahead(pool):
        frames = reader.all_frames()
        ends, positions, entries = _join(reader, frames.table, frames.firsts, frames, pool.map)
    layout = frames.layout
    edges = ends[np.searchsorted(frames.units, np.arange(len(layout.units) + 1))].tolist()
    places = dict(zip(layout.units, map(slice, edges[:-1], edges[1:]), strict=True))
    return {unit.name: (positions[places[unit]], entries[places[unit]]) for unit in units}


def _join(
    reader: DeltaReader,
    table: NDArray[np.int64],
    firsts: NDArray[np.int64],
    frames: Sequence[StoredFrame] | TaskFrames,
    run: Callable[..., Iterator[Any]],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Where the entries of each frame begin, and of all frames positions and entries.

    Memory is taken once the headers have said how much, and the system is asked whether there is
    as much: a few bytes can state more entries than there is memory for.

    Args:
        reader: of the frames.
        table: a row for each frame.
        firsts: position of each chunk's first entry in its unit.
        frames: for what is wrong with one.
        run: calls a function for many arguments, as ``map`` does.
    """
    # numba: only when something is decoded
    from tvbank.coding.decoding.decode import decode_entries
    from tvbank.coding.decoding.positions import run_tables_address
    from tvbank.coding.decoding.table import EXTENT, NONZEROS, address_of

    ends = np.concatenate((np.zeros(1, np.int64), np.cumsum(table[:, NONZEROS])))
    count = int(ends[-1])
    unit = repr(frames[0].unit.name) if len(table) else "nothing"
    what, remedy = f"what is not zero, from unit {unit} on,", "read frame by frame: Task.frames"
    positions, entries = zeros_of_all(
        [(count, np.dtype(np.int64)), (count, reader.dtype)], what, remedy,
        working_bytes(reader.chunk_length, int(table[:, EXTENT].max(initial=0))),
    )  # fmt: skip
    work = ends + _FRAME_WORK * np.arange(len(ends))
    parts = max(_PARTS, int(work[-1]) // _MOST_WORK)
    edges = np.searchsorted(work, work[-1] * np.arange(parts + 1) // parts)
    edges[0], edges[-1] = 0, len(table)

    def decode(first: int, last: int) -> tuple[int, int]:
        fault: tuple[int, int] = decode_entries(
            table, first, last, ends, firsts, reader.dtype == np.float32,
            address_of(positions), address_of(entries), run_tables_address(),
        )  # fmt: skip
        return fault

    for row, code in run(decode, edges[:-1].tolist(), edges[1:].tolist()):
        if row >= 0:
            reader.refuse(code, frames[row])
    return ends, positions, entries


def fill_all(
    reader: DeltaReader, units: Sequence[UnitRecord], pool: ThreadPoolExecutor
) -> dict[str, NDArray[Any]]:
    """As ``fill``, of many units on all cores; every array in its unit's shape.

    They are parts of one array: the system is quicker to hand out its memory in one piece. All
    frames are read before any is decoded, or else the two would wait for each other in turns.
    """
    starts = np.concatenate(
        (np.zeros(1, np.int64), np.cumsum([unit.size for unit in units], dtype=np.int64))
    )
    dense = zeros(
        int(starts[-1]), reader.dtype, "all units, dense,", "read unit by unit, or to_sparse()",
        working_bytes(reader.chunk_length, max((unit.size for unit in units), default=0)),
    )  # fmt: skip
    with reader.ahead(pool):
        frames = reader.all_frames()
        start_of = dict(zip(units, starts.tolist(), strict=False))
        # Of a unit that is kept whole instead no frame has entries.
        offsets = np.array([start_of.get(unit, 0) for unit in frames.layout.units], np.int64)
        offsets = offsets[frames.units] + frames.firsts

        def decode(row: int) -> None:
            part = slice(row, row + _BATCH)
            _fill(reader, frames.table[part], offsets[part], frames, dense, row)

        list(pool.map(decode, range(0, len(offsets), _BATCH)))
    parts = np.split(dense, starts[1:-1])
    return {unit.name: part.reshape(unit.shape) for unit, part in zip(units, parts, strict=False)}


def _fill(
    reader: DeltaReader,
    table: NDArray[np.int64],
    offsets: NDArray[np.int64],
    frames: Sequence[StoredFrame] | TaskFrames,
    dense: NDArray[Any],
    row: int,
) -> None:
    """Put the entries of some frames into an array of zeros.

    Args:
        reader: of the frames.
        table: a row for each of them.
        offsets: where each chunk begins in the array.
        frames: for what is wrong with one.
        dense: the array.
        row: where in ``frames`` the first of them is.
    """
    # numba: only when something is decoded
    from tvbank.coding.decoding.decode import decode_dense
    from tvbank.coding.decoding.positions import run_tables_address
    from tvbank.coding.decoding.table import NONZEROS, address_of

    scratch = np.empty(2 * int(table[:, NONZEROS].max(initial=0)), np.uint32)
    wrong, code = decode_dense(
        table, 0, len(table), offsets, reader.dtype == np.float32, address_of(dense),
        address_of(scratch), run_tables_address(),
    )  # fmt: skip
    if wrong >= 0:
        reader.refuse(code, frames[row + wrong])
