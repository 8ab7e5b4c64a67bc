"""The tasks in memory, under a budget of bytes: the least recently used one goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import final

from tvbank.bank.bank import Bank
from tvbank.switching._bindings import Bindings
from tvbank.switching._resident import ResidentTask


@final
class Cache:
    """Tasks by name. Its own lock guards the table, not the reading: threads may read at once."""

    def __init__(self, bank: Bank, bindings: Bindings, budget: int) -> None:
        """Keep at most ``budget`` bytes of tasks between calls."""
        self._bank, self._bindings, self._budget = bank, bindings, budget
        self._tasks: OrderedDict[str, ResidentTask] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, name: str) -> ResidentTask:
        """A task, read from the bank unless it is in memory in the bank's present revision.

        Raises:
            TaskNotFoundError: the bank has no such task.
            CorruptionError, StorageError: as ``Task.all_frames``.
            UnitMismatchError: as ``ResidentTask``.
        """
        stored = self._bank[name]
        with self._lock:
            task = self._tasks.get(name)
            if task is not None:
                self._tasks.move_to_end(name)
        if task is not None and task.revision == stored.revision:
            task.pack()  # it is used again, so packing it pays
            return task
        task = ResidentTask(stored, self._bindings)
        with self._lock:
            self._tasks[name] = task
            self._tasks.move_to_end(name)
        return task

    def trim(self) -> None:
        """Let the least recently used tasks go until the rest is within the budget."""
        with self._lock:
            sizes = {name: task.nbytes for name, task in self._tasks.items()}
            total = sum(sizes.values())
            while total > self._budget:
                name, _ = self._tasks.popitem(last=False)
                total -= sizes[name]

    def sizes(self) -> dict[str, int]:
        """Bytes of each task in memory, the least recently used one first."""
        with self._lock:
            return {name: task.nbytes for name, task in self._tasks.items()}
