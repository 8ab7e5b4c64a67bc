"""Making the weights of a unit from the base and stored frames, on all cores, chunk by chunk."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import repeat
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.ahead import LARGE
from tvbank.bank.frames import StoredFrame
from tvbank.bank.task import Task
from tvbank.layout import Layout, UnitRecord, fingerprint

#: Waits for an array that is being made.
Finish = Callable[[], NDArray[Any]]

#: The number of a task, and a frame of it.
NumberedFrame = tuple[int, StoredFrame]

#: Makes new weights from a unit's name, the base's weights of one chunk, and the chunk's frames.
Combine = Callable[[str, NDArray[Any], Sequence[NumberedFrame]], NDArray[Any]]

#: Chunks of a large unit whose frames may be in memory, beside the shards they come from.
_CHUNKS_AHEAD = 32


class OldWeights(Protocol):
    """The weights that entries are added to; ``BaseModel`` is one."""

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """A unit's weights, whose fingerprint the caller passes to ``check``."""

    def check(self, name: str, sha256: str) -> None:
        """Compare a unit's fingerprint."""


@final
class Assembler:
    """Starts the work on units of the base; several may be under way.

    Of a large unit, only the result and some chunks are in memory.
    """

    def __init__(
        self,
        layout: Layout,
        base: OldWeights,
        tasks: Sequence[Task],
        pool: ThreadPoolExecutor,
        seen: dict[str, Future[str]] | None = None,
        checked: bool = True,
    ) -> None:
        """Nothing is read yet.

        Args:
            layout: of the bank.
            base: the base's weights.
            tasks: whose entries there are, by number.
            pool: threads to work on.
            seen: fingerprints of the base's units, by name, if assemblers share them: each unit is
                then hashed once, however many make something of it.
            checked: whether the base's units are hashed at all: not, if what is made of them is.
        """
        self._checked = checked
        self._seen = seen
        self._layout, self._base, self._tasks, self._pool = layout, base, tasks, pool

    def unchanged(self, name: str) -> Finish:
        """A unit of the base as it is.

        Raises:
            BaseMismatchError: when waited for; the base has other weights than the bank's.
        """
        base = self._base.read_unchecked(name)
        if not self._checked:
            return lambda: base
        seen = self._fingerprint(name, base)

        def finish() -> NDArray[Any]:
            self._base.check(name, seen.result())
            return base

        return finish

    def _fingerprint(self, name: str, base: NDArray[Any]) -> Future[str]:
        if self._seen is None:
            return self._pool.submit(fingerprint, base)
        if name not in self._seen:
            self._seen[name] = self._pool.submit(fingerprint, base)
        return self._seen[name]

    def start(self, name: str, combine: Combine, *, in_place: bool = False) -> Finish:
        """A unit of the base with the entries of all tasks.

        Args:
            name: of the unit.
            combine: makes the new weights.
            in_place: whether it is given a copy of the base's weights, which become the new ones.

        Raises:
            CorruptionError: now or when waited for; what is stored is missing or damaged.
            BaseMismatchError, NonFiniteError: when waited for.
        """
        unit, length = self._layout.by_name[name], self._layout.chunk_length
        unchanged = self.unchanged(name)
        base = self._base.read_unchecked(name).reshape(-1)
        made = np.empty(unit.size, base.dtype)

        def make(chunks: Sequence[tuple[int, Sequence[NumberedFrame]]]) -> None:
            for first, frames in chunks:
                block, new = base[first : first + length], made[first : first + length]
                if frames and not in_place:
                    new[:] = combine(name, block, frames)
                    continue
                new[:] = block
                if frames:
                    combine(name, new, frames)

        parts: list[Future[None]] = []
        chunks = self._chunks(unit)
        for batch in [list(chunks)] if unit.size < LARGE else ([chunk] for chunk in chunks):
            parts.append(self._pool.submit(make, batch))
            wait(parts[-_CHUNKS_AHEAD - 1 : -_CHUNKS_AHEAD])

        def finish() -> NDArray[Any]:
            unchanged()
            for part in parts:
                part.result()
            return made.reshape(unit.shape)

        return finish

    def _chunks(self, unit: UnitRecord) -> Iterator[tuple[int, list[NumberedFrame]]]:
        """Position of the first entry of every chunk of a unit, and its frames by task."""
        each = (zip(repeat(k), task.frames(unit.name)) for k, task in enumerate(self._tasks))
        frames = heapq.merge(*each, key=lambda frame: (frame[1].first, frame[0]))
        upcoming = next(frames, None)
        for first in range(0, unit.size, self._layout.chunk_length):
            here: list[NumberedFrame] = []
            while upcoming is not None and upcoming[1].first == first:
                here.append(upcoming)
                upcoming = next(frames, None)
            yield first, here
