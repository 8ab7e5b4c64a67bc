"""What was decided for the examples of one call."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

#: How the base is called where tasks are counted.
BASE = "(base)"


@final
@dataclass(frozen=True, eq=False)
class Routing:
    """Where the examples of one call went.

    Attributes:
        names: the router's tasks, the columns of ``weights``.
        weights: float64 [n, K], what each example ran under; what a row lacks to one was the
            base's.
        tasks: the task with the largest weight of each example, whose heads it ran with; ``None``
            for the base.
        confidence: float64 [n], the router's confidence in 0..1, see ``tvbank.routing.Cascade``.
        stages: int64 [n], which router of a cascade decided, 0 for the first.
        runs: how often the model was called for the outputs, each time with other weights.
        reused: calls of modules that were answered by what they returned when features were taken.
    """

    names: tuple[str, ...]
    weights: NDArray[np.float64]
    tasks: tuple[str | None, ...]
    confidence: NDArray[np.float64]
    stages: NDArray[np.int64]
    runs: int
    reused: int = 0

    def counts(self) -> dict[str, int]:
        """How many examples went to each task, the most frequent first; ``(base)`` among them."""
        return dict(Counter(BASE if task is None else task for task in self.tasks).most_common())

    def __repr__(self) -> str:
        shown = ", ".join(f"{task}: {count}" for task, count in self.counts().items())
        return f"Routing({len(self.tasks)} examples in {self.runs} runs; {shown})"
