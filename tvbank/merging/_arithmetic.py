"""Task arithmetic: the base plus a weighted sum of task vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.merging._apply import WeightedSum
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._method import Merge, MergeMethod
from tvbank.merging._sum import sum_at_once


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
            if all(tasks[number].task.element == "float32" for number, _ in frames):
                with np.errstate(over="ignore"):  # what is infinite is refused
                    weights = np.array([tasks[number].weight for number, _ in frames], np.float32)
                found = sum_at_once(block, weights, [frame.data for _, frame in frames], length)
                if found is not None:
                    return found
            total = WeightedSum(name, block)
            for number, frame in frames:
                total.add(tasks[number].weight, tasks[number].task.decode(frame))
            return total.result()

        return combine
