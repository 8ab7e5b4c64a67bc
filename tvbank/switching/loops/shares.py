"""The fused loops as functions of one address, so that any thread can call them, Python's or not.

A loop's arguments lie in a block of 64-bit words; every thread that takes a share of the work calls
the same function with the block's address. It counts itself in, works, and writes down what the
loop returned.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.memory import (
    float32_pointer,
    int64_pointer,
    load_64,
    store_64,
    take_ticket,
)
from tvbank.coding.decoding.table import FRAME_COLUMNS, PART_COLUMNS, PLACE_COLUMNS
from tvbank.coding.faults import raise_stopped
from tvbank.coding.kernel import carray, compile_for_c, kernel, types
from tvbank.switching.loops.apply import apply_frames
from tvbank.switching.loops.merge import merge_frames
from tvbank.switching.loops.restore import restore_parts

#: Places, done, address of the positions, address of the old weights; see ``apply_frames``.
RecordArgument = tuple[NDArray[np.int64], NDArray[np.int64], np.uint64, np.uint64]

_U = np.uint64
#: Words of the block: threads that came, the counter of parts, address of the results; then tables
#: (address, rows), records (places, done, two addresses), and other arguments.
_ARRIVED, _COUNTER, _RESULTS, _PARTS, _RECORD, _PREVIOUS, _FRAMES = 0, 1, 2, 3, 5, 10, 15
_MODES, _FACTORS, _STARTS, _TABLES, _SCRATCH = 17, 18, 19, 21, 22
_WORDS: Final = 32
#: Words of a result: row, fault.
_RESULT_WORDS: Final = 2
#: Stands in the place of the row until a loop returns.
_UNFINISHED: Final = -2


@kernel
def _word(block: Any, index: Any) -> Any:
    return load_64(block + _U(8 * index))


@kernel
def _integers(block: Any, index: Any, count: Any) -> Any:
    """An int64 array at an address in the block."""
    return carray(int64_pointer(_word(block, index)), count)


@kernel
def _rows(block: Any, index: Any, columns: Any) -> Any:
    """A table at an address in the block, whose number of rows follows."""
    rows = np.int64(_word(block, index + 1))
    return carray(int64_pointer(_word(block, index)), (rows, columns))


@kernel
def _record(block: Any, index: Any) -> Any:
    places = _rows(block, index, PLACE_COLUMNS)
    done = _integers(block, index + 2, len(places))
    return places, done, _word(block, index + 3), _word(block, index + 4)


@kernel
def _scratch(block: Any, thread: Any, index: Any) -> Any:
    """The address of a thread's own block of working memory."""
    first = _word(block, _SCRATCH + 2 * index)
    return first + _U(thread) * _word(block, _SCRATCH + 2 * index + 1)


@kernel
def _come(block: Any) -> Any:
    """Number of this thread."""
    return take_ticket(block + _U(8 * _ARRIVED))


@kernel
def _leave(block: Any, thread: Any, row: Any, fault: Any) -> None:
    at = _word(block, _RESULTS) + _U(8 * _RESULT_WORDS * thread)
    store_64(at, _U(row))
    store_64(at + _U(8), _U(fault))


def _apply(block: Any) -> None:
    thread = _come(block)
    frames = _rows(block, _FRAMES, FRAME_COLUMNS)
    factors = carray(float32_pointer(_word(block, _FACTORS)), len(frames))
    row, fault = apply_frames(
        frames, _rows(block, _PARTS, PART_COLUMNS), block + _U(8 * _COUNTER),
        _record(block, _RECORD), _record(block, _PREVIOUS), np.int64(_word(block, _MODES)),
        factors, _scratch(block, thread, 0), _word(block, _TABLES),
    )  # fmt: skip
    _leave(block, thread, np.int64(row), np.int64(fault))


def _merge(block: Any) -> None:
    thread = _come(block)
    frames = _rows(block, _FRAMES, FRAME_COLUMNS)
    factors = carray(float32_pointer(_word(block, _FACTORS)), len(frames))
    starts = _integers(block, _STARTS, np.int64(_word(block, _STARTS + 1)))
    scratch = (
        _scratch(block, thread, 0), _scratch(block, thread, 1),
        _scratch(block, thread, 2), _scratch(block, thread, 3),
    )  # fmt: skip
    row, fault = merge_frames(
        frames, _integers(block, _MODES, len(frames)), factors, starts,
        _rows(block, _PARTS, PART_COLUMNS), block + _U(8 * _COUNTER), _record(block, _RECORD),
        _record(block, _PREVIOUS), scratch, _word(block, _TABLES),
    )  # fmt: skip
    _leave(block, thread, np.int64(row), np.int64(fault))


def _restore(block: Any) -> None:
    thread = _come(block)
    parts = _rows(block, _PARTS, PART_COLUMNS)
    restore_parts(_record(block, _RECORD), parts, block + _U(8 * _COUNTER))
    _leave(block, thread, np.int64(-1), np.int64(0))


@cache
def _compiled(entry: Callable[[Any], None]) -> int:
    """The address of a function that C calls with one pointer and that returns nothing."""
    return compile_for_c(entry, types.void(types.uint64))


@final
class Shared:
    """A loop with its arguments, for several threads.

    Attributes:
        function: address of a C function that takes one pointer and needs no GIL; each thread of
            at most ``threads`` calls it once.
        argument: the pointer.
        threads: how many may call it.
    """

    def __init__(
        self, entry: Callable[[Any], None], parts: NDArray[np.int64], threads: int
    ) -> None:
        self.function, self.threads = _compiled(entry), threads
        self._results = np.full((threads, _RESULT_WORDS), _UNFINISHED, np.int64)
        self._block = np.zeros(_WORDS, np.int64)
        self._kept: list[NDArray[Any]] = []
        self.argument = _address(self._block)
        self._block[_RESULTS] = _address(self._results)
        self._set_table(_PARTS, parts)

    def results(self) -> list[tuple[int, int]]:
        """Row and fault that each thread's loop returned, of those that called the function.

        Raises:
            MemoryError: a loop lacked memory.
        """
        results = self._results[: int(self._block[_ARRIVED])].tolist()
        if any(row == _UNFINISHED for row, _ in results):
            raise_stopped()
            raise MemoryError("there is not enough memory to decode a frame")
        return [(row, fault) for row, fault in results]

    def _set_array(self, index: int, array: NDArray[Any]) -> None:
        assert array.flags.c_contiguous
        self._kept.append(array)
        self._block[index] = _address(array)

    def _set_table(self, index: int, array: NDArray[np.int64]) -> None:
        self._set_array(index, array)
        self._block[index + 1] = len(array)

    def _set_record(self, index: int, record: RecordArgument) -> None:
        places, done, positions, old = record
        self._set_table(index, places)
        self._set_array(index + 2, done)
        self._block[index + 3], self._block[index + 4] = int(positions), int(old)

    def _set_scratch(self, *blocks: tuple[int, int]) -> None:
        self._block[_SCRATCH : _SCRATCH + 2 * len(blocks)] = [
            word for block in blocks for word in block
        ]


def shared_apply(
    frames: NDArray[np.int64],
    parts: NDArray[np.int64],
    record: RecordArgument,
    previous: RecordArgument,
    mode: int,
    factors: NDArray[np.float32],
    scratch: tuple[int, int],
    tables: np.uint64,
    threads: int,
) -> Shared:
    """``apply_frames`` for several threads.

    The arrays must be contiguous, and stay as they are until all threads are done.

    Args:
        frames: as of ``apply_frames``.
        parts: the work.
        record: the new record.
        previous: the record that is put back.
        mode: as of ``apply_frames``.
        factors: the weights of the rows' tasks, one for each of the frames.
        scratch: address of the first thread's, and bytes from one thread's to the next's.
        tables: what ``run_tables_address`` returns.
        threads: the most that will call it.
    """
    shared = Shared(_apply, parts, threads)
    shared._set_table(_FRAMES, frames)
    shared._set_record(_RECORD, record)
    shared._set_record(_PREVIOUS, previous)
    shared._block[_MODES] = mode
    shared._set_array(_FACTORS, factors)
    shared._block[_TABLES] = int(tables)
    shared._set_scratch(scratch)
    return shared


def shared_merge(
    frames: NDArray[np.int64],
    modes: NDArray[np.int64],
    factors: NDArray[np.float32],
    starts: NDArray[np.int64],
    parts: NDArray[np.int64],
    record: RecordArgument,
    previous: RecordArgument,
    scratch: tuple[tuple[int, int], ...],
    tables: np.uint64,
    threads: int,
) -> Shared:
    """``merge_frames`` for several threads; ``scratch`` has the same for each of its four.

    Otherwise as ``shared_apply``.
    """
    shared = Shared(_merge, parts, threads)
    shared._set_table(_FRAMES, frames)
    shared._set_record(_RECORD, record)
    shared._set_record(_PREVIOUS, previous)
    shared._set_array(_MODES, modes)
    shared._set_array(_FACTORS, factors)
    shared._set_table(_STARTS, starts)
    shared._block[_TABLES] = int(tables)
    shared._set_scratch(*scratch)
    return shared


def shared_restore(record: RecordArgument, parts: NDArray[np.int64], threads: int) -> Shared:
    """``restore_parts`` for several threads; otherwise as ``shared_apply``."""
    shared = Shared(_restore, parts, threads)
    shared._set_record(_RECORD, record)
    return shared


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
