"""Units that are products in some task: made of the base's weights, and written whole.

Every entry of such a unit changes, so that a copy of the base's weights is the way back, and what a
record would hold of positions is spared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.products import Product
from tvbank.checkpoint import open_checkpoint
from tvbank.merging.apply import Sparse, WeightedSum, restore
from tvbank.merging.tensor import to_torch
from tvbank.switching._bindings import Bindings
from tvbank.switching._memory import Target
from tvbank.switching._record import Undo
from tvbank.switching._resident import ResidentTask
from tvbank.switching._threads import thread_count

#: Weights that are made at a time on one thread.
_BLOCK = 2**18

#: The entries of a task from one position of a unit to another.
_Entries = Callable[[int, int], Sparse]

#: Tasks in memory with their weights; ``None`` for one task as it is.
_Tasks = Sequence[tuple[ResidentTask, float | None]]


@final
class ProductUndo(Undo):
    """The base's weights of one target, on the target's own device."""

    def __init__(self, target: Target) -> None:
        """Copy what is there; the target holds the base's weights now."""
        self._target, self._old = target, target.read().clone()

    def weights(self) -> NDArray[Any]:
        """The base's weights, flat."""
        return open_checkpoint({"base": self._old}).read("base").reshape(-1)

    def restore(self) -> None:
        """See ``Undo.restore``."""
        self._target.write(self._old)


@final
class ProductChange:
    """The change of one target that some task has as a product.

    Attributes:
        undo: the way back.
    """

    def __init__(self, target: Target, unit: str, tasks: _Tasks) -> None:
        """Copy the base's weights, which the target holds now; nothing is written yet.

        Args:
            target: where the unit lives.
            unit: its name.
            tasks: all that are added, in their order.
        """
        self._target, self._unit, self._tasks = target, unit, tasks
        self.undo = ProductUndo(target)

    def write(self) -> None:
        """Make the weights of the base's and all tasks' entries, and write them.

        Raises:
            CorruptionError: what is stored is missing or damaged; says where.
            NonFiniteError: a weight would become NaN or infinite; names the unit.
        """
        base = self.undo.weights()
        made = np.empty_like(base)
        parts = [(_entries_of(task, self._unit), weight) for task, weight in self._tasks]

        def make(first: int) -> None:
            block = base[first : first + _BLOCK]
            sparse = [(get(first, first + len(block)), weight) for get, weight in parts]
            made[first : first + _BLOCK] = _sum(self._unit, block, sparse)

        with ThreadPoolExecutor(thread_count()) as pool:
            list(pool.map(make, range(0, len(base), _BLOCK)))
        self._target.write(to_torch(made))


def product_changes(bindings: Bindings, tasks: _Tasks) -> Iterator[ProductChange]:
    """Of every target that is a product in some task, its change; see ``ProductChange``."""
    for target in bindings.targets:
        unit = bindings.layout.units[target.units[0]].name
        if any(unit in task.products for task, _ in tasks):
            yield ProductChange(target, unit, tasks)


def _entries_of(task: ResidentTask, unit: str) -> _Entries:
    """The entries of a task in a unit: made of its product, or read and cut."""
    if (product := task.products.get(unit)) is not None:
        return partial(_of_product, product)
    if unit not in task.stored:  # it keeps the unit whole
        return lambda first, stop: (np.empty(0, np.uint32), np.empty(0, np.float32))
    positions, values = task.stored[unit].to_sparse()

    def cut(first: int, stop: int) -> Sparse:
        part = slice(*np.searchsorted(positions, (first, stop)).tolist())
        return (positions[part] - first).astype(np.uint32), values[part]

    return cut


def _of_product(product: Product, first: int, stop: int) -> Sparse:
    entries = product.entries(first, stop)
    if entries.all():
        return np.arange(len(entries), dtype=np.uint32), entries
    positions = np.flatnonzero(entries).astype(np.uint32)
    return positions, entries[positions]


def _sum(
    unit: str, base: NDArray[Any], parts: Sequence[tuple[Sparse, float | None]]
) -> NDArray[Any]:
    """What ``tvbank.export`` writes of one task, and ``tvbank.merge`` of several."""
    if parts[0][1] is None:
        return restore(unit, base, parts[0][0])
    total = WeightedSum(unit, base)
    for sparse, weight in parts:
        assert weight is not None
        if len(sparse[0]):
            total.add(weight, sparse)
    return total.result()
