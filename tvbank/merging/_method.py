"""What every merge method does, and the simplest: a weighted sum of task vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.task import Task
from tvbank.layout import Layout
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._sum import sum_at_once
from tvbank.merging.apply import WeightedSum
from tvbank.vector import BaseModel


@final
@dataclass(frozen=True)
class Weighted:
    """A task to merge.

    Attributes:
        task: read by shard; it may lack units that are not asked for: buffers it keeps whole.
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
    """Makes one vector of the entries of several tasks, one chunk at a time."""

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


@final
@dataclass(frozen=True)
class TaskArithmetic(MergeMethod):
    """``base + sum of weight * (task - base)`` (Ilharco et al. 2023), summed in the order given."""

    def describe(self) -> dict[str, Any]:
        """See ``MergeMethod.describe``."""
        return {"name": "arithmetic"}

    def plan(self, merge: Merge) -> Combine:
        """See ``MergeMethod.plan``."""
        tasks, length = merge.tasks, merge.layout.chunk_length

        def combine(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            elements = {tasks[number].task.element for number, _ in frames}
            if len(elements) == 1 and all(frame.data for _, frame in frames):  # no chain has bytes
                with np.errstate(over="ignore"):  # what is infinite is refused
                    weights = np.array([tasks[number].weight for number, _ in frames], np.float32)
                at_once = sum_at_once(
                    block, weights, [frame.data for _, frame in frames], length,
                    is_float=elements == {"float32"},
                )  # fmt: skip
                if at_once is not None:
                    return at_once
            total = WeightedSum(name, block)
            for number, frame in frames:
                total.add(tasks[number].weight, tasks[number].task.decode(frame, block))
            return total.result()

        return combine
