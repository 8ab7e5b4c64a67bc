"""Tasks in memory, their frames bound to the places of a model that they go to."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NoReturn, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.bank.bank import Bank
from tvbank.bank.folding import folded
from tvbank.bank.frames import TaskFrames
from tvbank.bank.task import Task
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import (
    FIRST,
    KIND,
    LAST,
    MASK_AT,
    NONZEROS,
    VALUES_AT,
    WEIGHTS_AT,
    address_of,
    give_base,
)
from tvbank.coding.faults import raise_stopped
from tvbank.errors import CorruptionError
from tvbank.merging.blend import values_of
from tvbank.merging.tensor import to_torch
from tvbank.switching._bindings import WIDTHS, Bindings, assign_slots
from tvbank.switching._memory import Target
from tvbank.switching._threads import Crew, cut, thread_count
from tvbank.switching.loops.recode import pack_frames, packed_limit


@final
@dataclass(frozen=True)
class FrameSet:
    """A table of frames, and the memory that its addresses lead into.

    Attributes:
        table: int64 [frames, ``FRAME_COLUMNS``].
        memory: the owners of the bytes.
        stored: the frames as they were read, until they have been packed.
    """

    table: NDArray[np.int64]
    memory: tuple[object, ...]
    nbytes: int
    stored: TaskFrames | None


@final
class ResidentTask:
    """A task whose frames stay in memory, first as they were stored, then packed.

    Frames that are given what they start from stay as they were stored: they are decoded beside the
    weights that they are about to change, which are those of the state before.

    Attributes:
        name: of the task.
        revision: of the task.
        is_float: whether its entries are differences; else they are steps of an exact task.
        frames: those of direct targets first, by their places' ``ORDER``. ``pack`` puts
            another object in its place, so keep a reference while the table is in use.
        places: int64 [direct frames, ``PLACE_COLUMNS``], where each goes.
        indirect: of the targets that are not direct: the target, the rows of ``frames``, and the
            position within the unit of each row's chunk.
        record_size: positions, and bytes of old weights, that a record of the direct frames holds.
        most: non-zeros of the largest frame.
        is_given: whether frames are decoded beside the weights of the state before.
        extra_names: names of the units that the task keeps whole.
        stored: the task as it is in the bank, read shard by shard.
        products: of the task, by unit; they have no frames.
    """

    def __init__(self, task: Task, bindings: Bindings) -> None:
        """Read a task and bind it.

        Raises:
            CorruptionError, StorageError: as ``Task.all_frames``.
            UnitMismatchError: units that share memory in the model differ in the task.
        """
        self._task, self._layout = task, bindings.layout
        self._extras: dict[str, torch.Tensor] = {}
        self._values: dict[str, NDArray[Any] | None] = {}
        self.stored = task.by_shard()
        self.name, self.revision = task.name, task.revision
        self.is_float = task.element == "float32"
        self.extra_names = tuple(task.extras)
        self.products = dict(self.stored.products)
        bindings.check_products(task.name, self.products)
        stored = task.all_frames()
        rows, targets, orders = bindings.rows(task.name, stored)
        direct = bindings.is_direct(targets)
        now = np.flatnonzero(direct)
        later = np.flatnonzero(~direct)
        self._rows = rows[np.concatenate([now, later])]
        self._unit_of = stored.units[self._rows]
        size = sum(map(len, stored.shards))
        self.frames = FrameSet(stored.table[self._rows], stored.shards, size, stored)
        self.places = bindings.places(stored, rows[now], targets[now], orders[now])
        self.is_given = task.needs_base
        self._homes = [bindings.targets[number] for number in targets[now].tolist()]
        self._firsts = bindings.firsts(stored, rows[now])
        if self.is_given:
            table = self.frames.table[: len(now)]
            give_base(table, self.places[:, WEIGHTS_AT], WIDTHS[self.places[:, KIND]])
        counts = self.frames.table[: len(now), NONZEROS]
        self.record_size = assign_slots(self.places, counts)
        self.most = int(self.frames.table[:, NONZEROS].max(initial=0))
        self._parts: dict[int, NDArray[np.int64]] = {}
        self.indirect: list[tuple[Target, NDArray[np.int64], NDArray[np.int64]]] = []
        for number in np.unique(targets[later]).tolist():
            mine = np.flatnonzero(targets[later] == number)
            firsts = bindings.firsts(stored, rows[later[mine]])
            self.indirect.append((bindings.targets[number], len(now) + mine, firsts))

    @property
    def nbytes(self) -> int:
        """Bytes held: frames, tables, units kept whole."""
        frames = self.frames
        tables = frames.table.nbytes + self.places.nbytes
        values = sum(each.nbytes for each in self._values.values() if each is not None)
        values += sum(product.nbytes for product in self.products.values())
        return tables + frames.nbytes + values + sum(e.nbytes for e in self._extras.values())

    def parts(self, threads: int) -> NDArray[np.int64]:
        """The direct frames, cut for a number of threads (see ``cut``); the caller's own copy."""
        if threads not in self._parts:
            self._parts[threads] = cut(self.frames.table[: len(self.places), NONZEROS], threads)
        return self._parts[threads].copy()

    def unit(self, row: int) -> str:
        """The name of the unit that a row of ``frames`` belongs to."""
        return self._layout.units[int(self._unit_of[row])].name

    def start(self, row: int) -> NDArray[Any] | None:
        """The weights of a direct row's chunk now, [n]; ``None`` if its frame is not given them."""
        if not self.is_given:
            return None
        weights: NDArray[Any] = self._homes[row].weights().reshape(-1)
        first = int(self._firsts[row])
        return weights[first : first + self._layout.chunk_length]

    def extra(self, name: str) -> torch.Tensor:
        """A unit that the task keeps whole, on the CPU; read once.

        Raises:
            CorruptionError: it is missing or damaged.
        """
        if name not in self._extras:
            self._extras[name] = to_torch(self._task.extras[name])
        return self._extras[name]

    def values(self, name: str, base: NDArray[Any]) -> NDArray[Any] | None:
        """The task's values of a buffer of the base; ``None`` if they are the base's. Read once.

        Raises:
            CorruptionError: what is stored is missing or damaged.
        """
        if name not in self._values:
            self._values[name] = values_of(self.stored, name, base)
        return self._values[name]

    def explain(self, row: int, start: NDArray[Any] | None = None) -> NoReturn:
        """Say what is wrong with a row of ``frames`` that the fused loops refused.

        Args:
            row: which.
            start: the weights of the chunk that the frame is given, [n], if it is.

        Raises:
            CorruptionError: the frame violates the spec, or the weights that it is given are others
                than it was made beside.
            MemoryError: the frame is valid, but there was not enough memory to decode it.
        """
        raise_stopped()
        stored = self.frames.stored
        if stored is None:
            raise AssertionError(f"a frame of {self.unit(row)!r} that was valid no longer is")
        try:
            self._task.decode(stored[int(self._rows[row])], start)
        except CorruptionError as error:
            if not self.is_given:
                raise
            raise CorruptionError(
                error.reason,
                f"{error}; or others have written to {self.unit(row)!r} of the model, beside "
                "whose weights the frame is decoded",
                key=error.key, task=error.task, unit=error.unit, start=error.start, stop=error.stop,
            ) from error  # fmt: skip
        raise MemoryError(f"there is not enough memory to decode a frame of {self.unit(row)!r}")

    def pack(self) -> None:
        """Decode and check every frame, and keep it in an encoding that is quick to decode.

        Frames that are given what they start from are left as they are.

        Raises:
            CorruptionError: a frame violates the spec.
        """
        frames = self.frames
        if frames.stored is None or self.is_given:
            return
        table = frames.table.copy()
        limits = packed_limit(table)
        parts = cut(table[:, NONZEROS], thread_count())
        numbers = itertools.count()
        packed: list[tuple[int, NDArray[np.uint8]]] = []

        def work(_: int) -> None:
            while (part := next(numbers)) < len(parts):
                rows = int(parts[part, FIRST]), int(parts[part, LAST])
                packed.append(self._pack_rows(table, limits, *rows))

        Crew().share(work, min(thread_count(), len(parts)))
        for row, _ in packed:
            if row >= 0:
                self.explain(row)
        memory = tuple(data for _, data in packed)
        self.frames = FrameSet(table, memory, sum(data.nbytes for data in memory), None)

    def _pack_rows(
        self, table: NDArray[np.int64], limits: NDArray[np.int64], first: int, last: int
    ) -> tuple[int, NDArray[np.uint8]]:
        """Pack some rows; returns the row at fault or −1, and the bytes."""
        target = np.empty(int(limits[first:last].sum()) + 16, np.uint8)
        scratch = np.empty(int(table[first:last, NONZEROS].max(initial=0)) + 64, np.uint32)
        row, size = pack_frames(
            table, first, last, self.is_float, address_of(target), address_of(scratch),
            run_tables_address(),
        )  # fmt: skip
        kept = target[: int(size)].copy()
        moved = int(address_of(kept)) - int(address_of(target))
        table[first:last, [MASK_AT, VALUES_AT]] += moved
        return int(row), kept


@final
class Cache:
    """Tasks by name. Its lock guards the table only: several threads may read tasks at once.

    Of a chain, each task has a place of its own, and those of a weighted sum are folded into one.
    """

    def __init__(self, bank: Bank, bindings: Bindings, budget: int) -> None:
        """Keep at most ``budget`` bytes of tasks between calls."""
        self._bank, self._bindings, self._budget = bank, bindings, budget
        self._tasks: OrderedDict[tuple[str, bool], tuple[str, ResidentTask]] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, name: str) -> ResidentTask:
        """A task, read from the bank unless it is in memory in the bank's present revision.

        Of a task that starts from another one: all steps from the base on, folded into one task,
        for which the model has to be the base if it ``lacks_base``.

        Raises:
            TaskNotFoundError: the bank has no such task.
            CorruptionError, StorageError: as ``Task.all_frames``.
            UnitMismatchError: as ``ResidentTask``.
        """
        stored = self._bank[name]
        return self._get(stored, folding=stored.parent is not None)

    def path(self, name: str, skip: int) -> list[ResidentTask]:
        """The tasks that lead from the base to a task, by their own steps; the task itself last.

        Args:
            name: of the task.
            skip: how many of the first ones are not needed.

        Raises:
            TaskNotFoundError, CorruptionError, StorageError, UnitMismatchError: as ``get``.
        """
        return [self._get(each, folding=False) for each in self._bank[name].lineage[skip:]]

    def _get(self, stored: Task, *, folding: bool) -> ResidentTask:
        key = stored.name, folding
        with self._lock:
            revision, task = self._tasks.get(key, ("", None))
            if task is not None:
                self._tasks.move_to_end(key)
        if task is not None and revision == stored.revision:
            task.pack()  # it is used again, so packing it pays
            return task
        weights = self._bindings.base_weights
        whole = folded(stored, self._bank.layout, weights) if folding else stored.own_steps()
        task = ResidentTask(whole, self._bindings)
        with self._lock:
            self._tasks[key] = stored.revision, task
            self._tasks.move_to_end(key)
        return task

    def lacks_base(self, name: str) -> bool:
        """Whether the model has to be the base when ``get`` reads a task, not in memory yet."""
        stored = self._bank[name]
        if stored.parent is None:
            return False
        with self._lock:
            revision, _ = self._tasks.get((name, True), ("", None))
        return stored.needs_base and revision != stored.revision

    def trim(self) -> None:
        """Drop the least recently used tasks until the others are within the budget."""
        with self._lock:
            sizes = {key: task.nbytes for key, (_, task) in self._tasks.items()}
            total = sum(sizes.values())
            while total > self._budget:
                key, _ = self._tasks.popitem(last=False)
                total -= sizes[key]

    def sizes(self) -> dict[str, int]:
        """Bytes of each task in memory, the least recently used one first."""
        sizes: dict[str, int] = {}
        with self._lock:
            for (name, _), (_, task) in self._tasks.items():
                sizes[name] = sizes.get(name, 0) + task.nbytes
        return sizes
