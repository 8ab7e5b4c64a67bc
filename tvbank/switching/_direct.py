"""One task, or a weighted sum of tasks, added to contiguous memory of the CPU by ``loops``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.elements import ADD, ADD_STEPS, FLOAT32, KINDS, STEP
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import (
    EXTENT,
    FIRST,
    FIRST_OLD,
    FRAME_COLUMNS,
    KIND,
    LAST_OLD,
    NONZEROS,
    ORDER,
    PLACE_COLUMNS,
    address_of,
)
from tvbank.errors import NonFiniteError
from tvbank.switching._bindings import assign_slots
from tvbank.switching._record import Buffers, Record
from tvbank.switching._resident import ResidentTask
from tvbank.switching._threads import Crew, cut, thread_count
from tvbank.switching.loops.apply import INVALID
from tvbank.switching.loops.shares import RecordArgument, Shared, shared_apply, shared_merge

#: Entries that the loops' working memory holds beyond those of the largest frame.
SLACK = 64

#: Tasks with their weights.
Weighted = Sequence[tuple[ResidentTask, float]]


@final
class Scratch:
    """Working memory of the threads, kept from change to change."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint64]] = {}

    def blocks(self, purpose: str, size: int, threads: int) -> tuple[int, int]:
        """A block of at least ``size`` bytes for each thread: zeros, or what the last use left.

        Returns:
            The address of the first thread's block, and bytes from one block to the next.
        """
        words = -(-size // 8)
        array = self._arrays.get(purpose)
        if array is None or array.size < words * threads:
            array = self._arrays[purpose] = np.zeros(words * threads, np.uint64)
        return int(address_of(array)), 8 * words


@final
class WorkingMemory:
    """What every change works with, kept from one to the next.

    Attributes:
        crew: its threads.
        scratch: their working memory.
        spare: memory for the next record.
    """

    def __init__(self) -> None:
        self.crew, self.scratch = Crew(), Scratch()
        self.spare, self._used = Buffers(), Buffers()

    def turn(self) -> None:
        """Let the next record overwrite the one before the present one."""
        self.spare, self._used = self._used, self.spare


class Addition(ABC):
    """An addition to the direct targets of a model.

    Attributes:
        record: holds the old weights once ``run`` has begun.
        crew: does the work.
    """

    record: Record
    crew: Crew

    def run(self, previous: Record) -> None:
        """Put back what ``previous`` holds, and add; both at once, chunk by chunk.

        Raises:
            CorruptionError: a frame violates the spec; says where.
            NonFiniteError: a weight would become NaN or infinite; names the unit.
        """
        threads = thread_count()
        parts = self._parts(threads)
        if len(previous.places):
            orders = self.record.places[parts[1:, FIRST], ORDER]
            parts[1:, FIRST_OLD] = np.searchsorted(previous.places[:, ORDER], orders)
            parts[:-1, LAST_OLD] = parts[1:, FIRST_OLD]
            parts[-1, LAST_OLD] = len(previous.places)
        shared = self._shared(parts, previous.argument(), min(threads, len(parts)))
        for row, fault in self.crew.run(shared):
            if row >= 0:
                self._refuse(row, fault == INVALID)

    @abstractmethod
    def _parts(self, threads: int) -> NDArray[np.int64]:
        """The rows of the places, cut for a number of threads."""

    @abstractmethod
    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        """The loop that takes parts and adds them."""

    @abstractmethod
    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        """The task that a row of the frames comes from, and the row in its own table."""

    def _refuse(self, row: int, invalid: bool) -> NoReturn:
        task, own = self._owner(row)
        if invalid:
            task.explain(own, task.start(own))
        kind = KINDS[int(task.places[own, KIND])]
        raise NonFiniteError(
            f"unit {task.unit(own)!r}: a weight would become NaN or too large for {kind}; use "
            "smaller merging weights, or check that the base is finite"
        )


@final
class OneTask(Addition):
    """One task: as ``tvbank.export`` restores it, or multiplied by a weight."""

    def __init__(
        self,
        task: ResidentTask,
        weight: float | None,
        memory: WorkingMemory,
        buffers: Buffers | None = None,
    ) -> None:
        """Prepare to add a task; ``weight`` is ``None`` for the task itself.

        Args:
            task: what to add.
            weight: see above.
            memory: what changes work with.
            buffers: for a record that stays when the next one is made; the spare ones by default.
        """
        self._task, self._frames = task, task.frames
        self._mode = ADD if task.is_float else STEP if weight is None else ADD_STEPS
        factor = float32_of(1.0 if weight is None else weight)
        self._factors = np.full(len(self._frames.table), factor)
        self._scratch, self.crew = memory.scratch, memory.crew
        kept = memory.spare if buffers is None else buffers
        self.record = Record(task.places, task.record_size, kept, memory.crew)

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return self._task.parts(threads)

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        block = self._scratch.blocks("patterns", 4 * (self._task.most + SLACK), threads)
        return shared_apply(
            self._frames.table, parts, self.record.argument(), previous, self._mode, self._factors,
            block, run_tables_address(), threads,
        )  # fmt: skip

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._task, row


def float32_of(weight: float) -> np.float32:
    """A weight as the loops take it."""
    with np.errstate(over="ignore"):  # an infinite weight makes sums infinite, which are refused
        return np.float32(weight)


def addition_of(tasks: Weighted, memory: WorkingMemory) -> Addition:
    """The addition of some tasks, each multiplied by its weight, as ``tvbank.merge`` computes it.

    Sums are accumulated in float32, so that differences can be added to float32 weights one task
    after the other. The steps of exact tasks cannot: the difference that they stand for depends on
    the base's weight.
    """
    in_turn = len(tasks) > 0 and all(
        task.is_float and bool((task.places[:, KIND] == FLOAT32).all()) for task, _ in tasks
    )
    return TasksInTurn(tasks, memory) if in_turn else WeightedTasks(tasks, memory)


class _Sum(Addition):
    """The rows of several tasks in one table, those of the same chunk together."""

    def __init__(self, tasks: Weighted, memory: WorkingMemory) -> None:
        """Lay out the tables; rows of the same chunk are in the order of the tasks."""
        self._tasks = [task for task, _ in tasks]
        self._frames = [task.frames for task in self._tasks]  # kept from being freed
        lengths = [len(task.places) for task in self._tasks]
        nothing = np.empty((0, PLACE_COLUMNS), np.int64)
        places = np.concatenate([nothing, *(task.places for task in self._tasks)])
        order = np.argsort(places[:, ORDER], kind="stable")
        tables = [frames.table[:n] for frames, n in zip(self._frames, lengths, strict=True)]
        self._table = np.concatenate([np.empty((0, FRAME_COLUMNS), np.int64), *tables])[order]
        self._from = np.repeat(np.arange(len(tasks)), np.array(lengths, np.int64))[order]
        self._row = np.concatenate([np.arange(n) for n in (0, *lengths)])[order]
        weights = [float32_of(weight) for _, weight in tasks]
        self._factors = np.array(weights, np.float32)[self._from]
        self._scratch, self.crew = memory.scratch, memory.crew
        self._places, self._counts = self._entries(places[order])
        size = assign_slots(self._places, self._counts)
        self.record = Record(self._places, size, memory.spare, memory.crew)

    @abstractmethod
    def _entries(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """From the places of all rows, those of the record, and how many entries each can have."""

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return cut(self._counts, threads, self._places[:, ORDER])

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._tasks[self._from[row]], int(self._row[row])


@final
class TasksInTurn(_Sum):
    """Tasks that are added one after the other, each with old weights of its own."""

    def __init__(self, tasks: Weighted, memory: WorkingMemory) -> None:
        """Prepare; of rows of the same chunk the loop adds the last one first."""
        super().__init__(tasks[::-1], memory)

    def _entries(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return places, self._table[:, NONZEROS]

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        most = max(task.most for task in self._tasks) + SLACK
        return shared_apply(
            self._table, parts, self.record.argument(), previous, ADD, self._factors,
            self._scratch.blocks("patterns", 4 * most, threads), run_tables_address(), threads,
        )  # fmt: skip


@final
class WeightedTasks(_Sum):
    """Tasks that are summed apart from the weights, which then take the rounded sums."""

    def _entries(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        modes = [ADD if task.is_float else ADD_STEPS for task in self._tasks]
        self._modes = np.array(modes, np.int64)[self._from]
        firsts = np.flatnonzero(np.diff(places[:, ORDER], prepend=-1))
        self._starts = np.append(firsts, len(places)).astype(np.int64)
        if not len(firsts):
            return places, np.empty(0, np.int64)
        most = np.maximum.reduceat(self._table[:, EXTENT], firsts)
        return places[firsts], np.minimum(np.add.reduceat(self._table[:, NONZEROS], firsts), most)

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        most = int(self._table[:, NONZEROS].max(initial=0)) + SLACK
        extent = int(self._table[:, EXTENT].max(initial=0)) + SLACK
        sizes = {"positions": 4 * most, "patterns": 4 * most, "totals": 4 * extent}
        sizes["touched"] = extent // 8 + 8
        blocks = (self._scratch.blocks(use, size, threads) for use, size in sizes.items())
        return shared_merge(
            self._table, self._modes, self._factors, self._starts, parts, self.record.argument(),
            previous, tuple(blocks), run_tables_address(), threads,
        )  # fmt: skip
