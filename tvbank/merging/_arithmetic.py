"""Task arithmetic: the base plus a weighted sum of task vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from numpy.typing import NDArray

from tvbank.merging._apply import WeightedSum
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._method import Merge, MergeMethod


@final
@dataclass(frozen=True)
class TaskArithmetic(MergeMethod):
    """``base + sum of weight * (task - base)`` (Ilharco et al. 2023), summed in the order given."""

    def describe(self) -> dict[str, Any]:
        """See ``MergeMethod.describe``."""
        return {"name": "arithmetic"}

    def plan(self, merge: Merge) -> Combine:
        """See ``MergeMethod.plan``."""
        tasks = merge.tasks

        def combine(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            total = WeightedSum(name, block)
            for number, frame in frames:
                total.add(tasks[number].weight, tasks[number].task.decode(frame))
            return total.result()

        return combine
