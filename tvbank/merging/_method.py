"""What every merge method does: weigh the entries of several tasks, chunk by chunk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, final

from tvbank.bank.task import Task
from tvbank.layout import Layout
from tvbank.merging._assemble import Combine
from tvbank.vector import BaseModel


@final
@dataclass(frozen=True)
class Weighted:
    """A task to merge.

    Attributes:
        task: read by shard; it has every unit of the layout.
        weight: a finite number.
    """

    task: Task
    weight: float


@final
@dataclass(frozen=True)
class Merge:
    """What a method may look at before it merges.

    Attributes:
        tasks: in the order in which the frames of a chunk are numbered.
        layout: of the bank.
        base: the base's weights.
        pool: threads to decode on.
    """

    tasks: Sequence[Weighted]
    layout: Layout
    base: BaseModel
    pool: Executor


class MergeMethod(ABC):
    """Decides what the entries of several tasks come to. One unit at a time is in memory."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name and parameters as JSON."""

    @abstractmethod
    def plan(self, merge: Merge) -> Combine:
        """Prepare to merge.

        Args:
            merge: the tasks and the base.

        Returns:
            A function for one chunk: from a unit's name, the base's weights there, and the chunk's
            frames by number of the task to the merged weights, in the base's element type. It
            runs on several threads, for several chunks at once.

        Raises:
            CorruptionError: what is stored is missing or damaged.
        """
