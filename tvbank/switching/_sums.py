"""Weighted sums of tasks, by the fused loops."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.elements import ADD, ADD_STEPS
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import EXTENT, FRAME_COLUMNS, KIND, NONZEROS, ORDER, PLACE_COLUMNS
from tvbank.switching._bindings import assign_room
from tvbank.switching._direct import SLACK, Addition, WorkingMemory, float32_of
from tvbank.switching._record import Record
from tvbank.switching._resident import ResidentTask
from tvbank.switching._split import cut
from tvbank.switching.loops.shares import RecordArgument, Shared, shared_apply, shared_merge

#: Tasks with their weights.
Weighted = Sequence[tuple[ResidentTask, float]]


def addition_of(tasks: Weighted, room: WorkingMemory) -> Addition:
    """What adds some tasks, each multiplied by its weight, as ``tvbank.merge`` computes it.

    In float32, in which sums are accumulated, differences can be added to the weights themselves.
    Not so the steps of exact tasks: what they come to depends on the base's weight.
    """
    in_turn = len(tasks) > 0 and all(
        task.is_float and not task.places[:, KIND].any() for task, _ in tasks
    )
    return TasksInTurn(tasks, room) if in_turn else WeightedTasks(tasks, room)


class _Sum(Addition):
    """The rows of several tasks in one table, those of the same chunk together."""

    def __init__(self, tasks: Weighted, room: WorkingMemory) -> None:
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
        self._scratch, self.crew = room.scratch, room.crew
        self._places, self._counts = self._entries(places[order])
        size = assign_room(self._places, self._counts)
        self.record = Record(self._places, size, room.spare, room.crew)

    @abstractmethod
    def _entries(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places of the record, from those of all rows, and the most entries of each."""

    def _parts(self, threads: int) -> NDArray[np.int64]:
        return cut(self._counts, threads, self._places[:, ORDER])

    def _owner(self, row: int) -> tuple[ResidentTask, int]:
        return self._tasks[self._from[row]], int(self._row[row])


@final
class TasksInTurn(_Sum):
    """Tasks that are added one after the other, each with old weights of its own."""

    def __init__(self, tasks: Weighted, room: WorkingMemory) -> None:
        """Prepare; of rows of the same chunk the loop adds the last one first."""
        super().__init__(tasks[::-1], room)

    def _entries(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return places, self._table[:, NONZEROS]

    def _shared(self, parts: NDArray[np.int64], previous: RecordArgument, threads: int) -> Shared:
        most = max(task.most for task in self._tasks) + SLACK
        return shared_apply(
            self._table, parts, self.record.argument(), previous, ADD, self._factors,
            self._scratch.rooms("patterns", 4 * most, threads), run_tables_address(), threads,
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
        rooms = (self._scratch.rooms(each, size, threads) for each, size in sizes.items())
        return shared_merge(
            self._table, self._modes, self._factors, self._starts, parts, self.record.argument(),
            previous, tuple(rooms), run_tables_address(), threads,
        )  # fmt: skip
