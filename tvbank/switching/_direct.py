"""The fused loops on contiguous memory of the CPU, over several threads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.fused.apply import INVALID
from tvbank.coding.fused.elements import ADD, ADD_STEPS, KINDS, STEP
from tvbank.coding.fused.positions import run_tables_address
from tvbank.coding.fused.shares import RecordArgument, Shared, shared_apply, shared_merge
from tvbank.coding.fused.table import (
    EXTENT,
    FIRST,
    FIRST_OLD,
    FRAME_COLUMNS,
    KIND,
    LAST_OLD,
    NONZEROS,
    ORDER,
    PLACE_COLUMNS,
)
from tvbank.errors import NonFiniteError
from tvbank.switching._bindings import assign_room
from tvbank.switching._record import Buffers, Record
from tvbank.switching._resident import ResidentTask
from tvbank.switching._split import address_of, cut
from tvbank.switching._threads import Crew, thread_count

#: Entries beyond the largest frame's that the loops want in their working memory.
_SLACK = 64
_NO_FRAMES = np.empty((0, FRAME_COLUMNS), np.int64)
_NO_PLACES = np.empty((0, PLACE_COLUMNS), np.int64)


@final
class Scratch:
    """Working memory of the threads, kept from change to change."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.uint64]] = {}

    def rooms(self, purpose: str, size: int, threads: int) -> tuple[int, int]:
        """Room for ``size`` bytes a thread; zero when it is new, and else as it was left.

        Returns:
            The address of the first thread's, and bytes from one thread's to the next's.
        """
        words = -(-size // 8)
        array = self._arrays.get(purpose)
        if array is None or array.size < words * threads:
            array = self._arrays[purpose] = np.zeros(words * threads, np.uint64)
        return int(address_of(array)), 8 * words


@final
class WorkingMemory:
    """What one change after the other works with.

    Attributes:
        crew: its threads.
        scratch: their working memory.
        spare: memory for the next record.
    """

    def __init__(self) -> None:
        self.crew, self.scratch = Crew(), Scratch()
        self.spare, self._used = Buffers(), Buffers()

    def turn(self) -> None:
        """The next record takes the memory of the one before the last."""
        self.spare, self._used = self._used, self.spare


class Addition(ABC):
    """What is to be added to the direct targets of a model.

    Attributes:
        record: will hold what was there before.
    """

    record: Record
    _crew: Crew

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
        for row, fault in self._crew.run(shared):
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
            task.explain(own)
        kind = KINDS[int(task.places[own, KIND])]
        raise NonFiniteError(
            f"unit {task.unit(own)!r}: a weight would become NaN or too large for {kind}; use "
            "smaller merging weights, or check that the base is finite"
        )


@final
class OneTask(Addition):
    """One task: as ``tvbank.export`` restores it, or multiplied by a weight."""

    def __init__(self, task: ResidentTask, weight: float | None, room: WorkingMemory) -> None:
        """Prepare to add a task; ``weight`` is ``None`` for the task itself."""
        self._task, self._frames = task, task.frames
        self._mode = ADD if task.is_float else STEP if weight is None else ADD_STEPS
        factor = _float32(1.0 if weight is None else weight)
        self._factors = np.full(len(self._frames.table), factor)
        self._scratch, self._crew = room.scratch, room.crew
        self.record = Record(task.places, task.room, room.spare, room.crew)

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return self._task.parts(threads)

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        room = self._scratch.rooms("patterns", 4 * (self._task.most + _SLACK), threads)
        return shared_apply(
            self._frames.table, parts, self.record.argument(), previous, self._mode, self._factors,
            room, run_tables_address(), threads,
        )  # fmt: skip

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._task, row


@final
class TasksInTurn(Addition):
    """A weighted sum of tasks, one added after the other: as ``tvbank.merge`` computes it.

    That is so where a weight is what the sum is accumulated in, float32, and where what is added
    does not depend on the weight: not for the steps of exact tasks.
    """

    def __init__(self, tasks: Sequence[tuple[ResidentTask, float]], room: WorkingMemory) -> None:
        """Prepare to add some tasks, each multiplied by its weight, in this order."""
        turned = list(reversed(tasks))  # of rows of the same chunk the last one is added first
        self._tasks = [task for task, _ in turned]
        self._frames = [task.frames for task in self._tasks]  # kept from being freed
        lengths = [len(task.places) for task in self._tasks]
        places = np.concatenate([task.places for task in self._tasks])
        order = np.argsort(places[:, ORDER], kind="stable")
        tables = [frames.table[:n] for frames, n in zip(self._frames, lengths, strict=True)]
        self._table, self._places = np.concatenate(tables)[order], places[order]
        self._from = np.repeat(np.arange(len(turned)), lengths)[order]
        self._row = np.concatenate([np.arange(n) for n in lengths])[order]
        factors = np.array([_float32(weight) for _, weight in turned], np.float32)
        self._factors = factors[self._from]
        self._counts = self._table[:, NONZEROS]
        self._most = max(task.most for task in self._tasks)
        self._scratch, self._crew = room.scratch, room.crew
        size = assign_room(self._places, self._counts)
        self.record = Record(self._places, size, room.spare, room.crew)

    @staticmethod
    def fits(tasks: Sequence[tuple[ResidentTask, float]]) -> bool:
        """Whether some tasks can be added like this."""
        return len(tasks) > 0 and all(
            task.is_float and not task.places[:, KIND].any() for task, _ in tasks
        )

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return cut(self._counts, threads, self._places[:, ORDER])

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        room = self._scratch.rooms("patterns", 4 * (self._most + _SLACK), threads)
        return shared_apply(
            self._table, parts, self.record.argument(), previous, ADD, self._factors, room,
            run_tables_address(), threads,
        )  # fmt: skip

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._tasks[self._from[row]], int(self._row[row])


@final
class WeightedTasks(Addition):
    """A weighted sum of tasks, as ``tvbank.merge`` computes it."""

    def __init__(self, tasks: Sequence[tuple[ResidentTask, float]], room: WorkingMemory) -> None:
        """Prepare to add some tasks, each multiplied by its weight, in this order."""
        self._tasks = [task for task, _ in tasks]
        self._frames = [task.frames for task in self._tasks]  # kept from being freed
        lengths = [len(task.places) for task in self._tasks]
        places = np.concatenate([_NO_PLACES, *(task.places for task in self._tasks)])
        order = np.argsort(places[:, ORDER], kind="stable")
        tables = [frames.table[:n] for frames, n in zip(self._frames, lengths, strict=True)]
        self._table = np.concatenate([_NO_FRAMES, *tables])[order]
        self._from = np.repeat(np.arange(len(tasks)), np.array(lengths, np.int64))[order]
        self._row = np.concatenate([np.arange(n) for n in (0, *lengths)])[order]
        modes = [ADD if task.is_float else ADD_STEPS for task in self._tasks]
        self._modes = np.array(modes, np.int64)[self._from]
        weights = [_float32(weight) for _, weight in tasks]
        self._factors = np.array(weights, np.float32)[self._from]
        firsts = np.flatnonzero(np.diff(places[order, ORDER], prepend=-1))
        self._starts = np.append(firsts, len(order)).astype(np.int64)
        self._places = places[order[firsts]]
        counts, extents = self._table[:, NONZEROS], self._table[:, EXTENT]
        self._counts = np.empty(0, np.int64)
        if len(firsts):
            most = np.maximum.reduceat(extents, firsts)
            self._counts = np.minimum(np.add.reduceat(counts, firsts), most)
        self._scratch, self._crew = room.scratch, room.crew
        size = assign_room(self._places, self._counts)
        self.record = Record(self._places, size, room.spare, room.crew)

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return cut(self._counts, threads)

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        most = int(self._table[:, NONZEROS].max(initial=0)) + _SLACK
        extent = int(self._table[:, EXTENT].max(initial=0)) + _SLACK
        sizes = {"positions": 4 * most, "patterns": 4 * most, "totals": 4 * extent}
        sizes["touched"] = extent // 8 + 8
        rooms = (self._scratch.rooms(each, size, threads) for each, size in sizes.items())
        return shared_merge(
            self._table, self._modes, self._factors, self._starts, parts, self.record.argument(),
            previous, tuple(rooms), run_tables_address(), threads,
        )  # fmt: skip

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._tasks[self._from[row]], int(self._row[row])


def _float32(weight: float) -> np.float32:
    with np.errstate(over="ignore"):  # an infinite one makes sums infinite, which is refused
        return np.float32(weight)
