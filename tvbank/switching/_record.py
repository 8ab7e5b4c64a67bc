"""What the weights were before a change: positions and old values of the touched entries only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.table import ORDER, PLACE_COLUMNS, address_of
from tvbank.switching._threads import Crew, cut, thread_count
from tvbank.switching.loops.shares import RecordArgument, shared_restore


class Undo(ABC):
    """A way back to the base for a part of a model."""

    @abstractmethod
    def restore(self) -> None:
        """Put back what was there; calling it again, or after a part was put back, is harmless."""


@final
class Buffers:
    """Memory for one record, kept for the next one: every page of new memory costs a page fault."""

    def __init__(self) -> None:
        self.positions = np.empty(0, np.uint32)
        self.old = np.empty(0, np.uint8)

    def reserve(self, positions: int, old: int) -> None:
        """Hold so many positions and bytes of old weights; what the memory held may be lost."""
        if self.positions.size < positions:
            self.positions = np.empty(positions, np.uint32)
        if self.old.size < old:
            self.old = np.empty(old, np.uint8)


@final
class Record(Undo):
    """Old weights of contiguous targets on the CPU.

    Attributes:
        places: int64 [places, ``PLACE_COLUMNS``].
        done: int64 [places], how many old weights of each are recorded.
    """

    def __init__(
        self,
        places: NDArray[np.int64],
        size: tuple[int, int],
        buffers: Buffers,
        crew: Crew,
    ) -> None:
        """Prepare a record with nothing in it.

        Args:
            places: with their slots assigned.
            size: what ``assign_slots`` returned for them.
            buffers: memory that no other record uses.
            crew: puts the old weights back.
        """
        self.places, self._buffers, self._crew = places, buffers, crew
        self.done = np.zeros(len(places), np.int64)
        buffers.reserve(*size)

    def argument(self) -> RecordArgument:
        """What the fused loops write to."""
        positions, old = address_of(self._buffers.positions), address_of(self._buffers.old)
        return self.places, self.done, positions, old

    def restore(self) -> None:
        """See ``Undo.restore``."""
        threads = thread_count()
        parts = cut(self.done, threads, self.places[:, ORDER])
        self._crew.run(shared_restore(self.argument(), parts, min(threads, len(parts))))


def empty_record() -> Record:
    """A record of nothing, for when nothing is to be put back."""
    nothing = np.empty((0, PLACE_COLUMNS), np.int64)
    return Record(nothing, (0, 0), Buffers(), Crew())
