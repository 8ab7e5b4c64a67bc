"""Which memory of a model every unit of a layout lives in, as arrays for many frames at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.frames import TaskFrames
from tvbank.bank.products import Product
from tvbank.coding.decoding.elements import SHIFTS
from tvbank.coding.decoding.table import (
    KIND,
    OLD,
    ORDER,
    PLACE_COLUMNS,
    SLOT,
    WEIGHTS_AT,
)
from tvbank.errors import BaseMismatchError, UnitMismatchError
from tvbank.layout import Layout, fingerprint
from tvbank.switching._memory import Target

#: Bytes of a weight by kind.
WIDTHS = 1 << np.array(SHIFTS, np.int64)


@final
class Bindings:
    """Where in a model every unit lives.

    Attributes:
        layout: of the base.
        targets: every target that a unit with deltas lives in.
    """

    def __init__(self, layout: Layout, by_unit: dict[str, list[Target]]) -> None:
        """Prepare for binding tasks; ``by_unit`` has the targets of every unit by its name."""
        self.layout = layout
        numbers: dict[Target, int] = {}
        copies = max((len(by_unit[unit.name]) for unit in layout.units), default=0)
        #: [copy, unit]: the target that the unit's first, second… copy lives in, or −1.
        self._target_of = np.full((copies, len(layout.units)), -1, np.int64)
        for unit, record in enumerate(layout.units):
            for copy, target in enumerate(by_unit[record.name]):
                self._target_of[copy, unit] = numbers.setdefault(target, len(numbers))
        self.targets = list(numbers)
        self._leader = np.array([target.units[0] for target in self.targets], np.int64)
        self._direct = np.array([target.direct for target in self.targets], np.bool_)
        self._kind = np.array([target.kind for target in self.targets], np.int64)
        self._address = np.array([target.tensor.data_ptr() for target in self.targets], np.int64)
        self._offset = np.array([unit.offset for unit in layout.units], np.int64)
        self._followers = [
            (target.units[0], unit) for target in self.targets for unit in target.units[1:]
        ]

    def rows(
        self, task: str, stored: TaskFrames
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Bind a task's frames to targets.

        Args:
            task: its name, for messages.
            stored: its frames.

        Returns:
            Three int64 arrays: a row of ``stored``; the number of the target that it goes to; and
            an order, which ascends, and is equal for the same chunk of the same target.

        Raises:
            UnitMismatchError: units that share memory in the model differ in the task.
        """
        for leader, follower in self._followers:
            if self._content(stored, leader) != self._content(stored, follower):
                self._refuse(task, leader, follower)
        chunks = self.layout.length // self.layout.chunk_length
        bound: list[tuple[NDArray[np.int64], ...]] = []
        for copy, target_of in enumerate(self._target_of):
            targets = target_of[stored.units]
            rows = np.flatnonzero((targets >= 0) & (self._leader[targets] == stored.units))
            bound.append((rows, targets[rows], stored.chunks[rows] + copy * chunks))
        if not bound:
            return (np.empty(0, np.int64),) * 3
        rows, targets, orders = (np.concatenate(parts) for parts in zip(*bound, strict=True))
        return rows, targets, orders

    def check_products(self, task: str, products: Mapping[str, Product]) -> None:
        """Check that a task has the same product of all units that share their memory.

        Raises:
            UnitMismatchError: it has not; names two of them.
        """
        for leader, follower in self._followers:
            first, other = (
                products.get(self.layout.units[unit].name) for unit in (leader, follower)
            )
            if (first and first.content) != (other and other.content):
                self._refuse(task, leader, follower)

    def _refuse(self, task: str, leader: int, follower: int) -> NoReturn:
        names = [self.layout.units[unit].name for unit in (leader, follower)]
        raise UnitMismatchError(
            f"task {task!r} changes {names[0]!r} and {names[1]!r} differently, but in this "
            "model they share their memory: untie them before attaching"
        )

    def base_weights(self, unit: str) -> NDArray[Any]:
        """The base's weights of a unit, flat, from a model that is the base now.

        Raises:
            BaseMismatchError: the model holds something else.
        """
        number = next(n for n, each in enumerate(self.layout.units) if each.name == unit)
        weights = self.targets[int(self._target_of[0, number])].weights()
        if fingerprint(weights) != self.layout.units[number].sha256:
            raise BaseMismatchError(
                f"unit {unit!r} of the model no longer holds the base's weights, which the task is "
                "decoded beside: load the base again, and attach anew",
                [unit],
            )
        return weights.reshape(-1)

    def is_direct(self, targets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether the fused loops can write to each of some targets."""
        return self._direct[targets]

    def firsts(self, stored: TaskFrames, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Position within its unit of the first entry of each of some rows."""
        starts = stored.chunks[rows] * self.layout.chunk_length
        return starts - self._offset[stored.units[rows]]

    def places(
        self,
        stored: TaskFrames,
        rows: NDArray[np.int64],
        targets: NDArray[np.int64],
        orders: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The table of places of rows of direct targets; ``SLOT`` and ``OLD`` are not set."""
        kinds = self._kind[targets]
        widths = WIDTHS[kinds]
        places = np.empty((len(rows), PLACE_COLUMNS), np.int64)
        places[:, WEIGHTS_AT] = self._address[targets] + widths * self.firsts(stored, rows)
        places[:, KIND] = kinds
        places[:, ORDER] = orders
        return places

    @staticmethod
    def _content(stored: TaskFrames, unit: int) -> list[tuple[int, bytes]]:
        """Position within the unit and bytes of all frames of a unit."""
        frames = (stored[row] for row in np.flatnonzero(stored.units == unit).tolist())
        return [(frame.first, frame.data) for frame in frames]


def assign_slots(places: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[int, int]:
    """Say where in a record the positions and old weights of each place go.

    The old weights of a place begin at a multiple of eight bytes.

    Args:
        places: int64 [places, ``PLACE_COLUMNS``]; its columns ``SLOT`` and ``OLD`` are overwritten.
        counts: int64 [places], the most entries that can be recorded of each.

    Returns:
        How many positions, and how many bytes of old weights, the record holds at most.
    """
    sizes = (counts * WIDTHS[places[:, KIND]] + 7) // 8 * 8
    places[:, SLOT] = np.cumsum(counts) - counts
    places[:, OLD] = np.cumsum(sizes) - sizes
    return int(counts.sum()), int(sizes.sum())
