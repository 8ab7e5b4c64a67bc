"""TIES: trim, elect a sign, average those that agree (Yadav et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.errors import UsageError
from tvbank.merging._apply import differences, restore
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._method import Merge, MergeMethod
from tvbank.merging._trim import thresholds


@final
@dataclass(frozen=True)
class Ties(MergeMethod):
    """Of every task keep the largest entries; of every entry, the tasks of the stronger sign.

    *Trim*: of the n entries of each task, zeros included, the ``ceil(density * n)`` with the
    largest magnitudes are kept, and all that equal the smallest of them. *Elect*: each entry takes
    the sign of the weighted sum of what is left. *Merge*: the base plus the mean of ``weight *
    entry`` over the tasks whose entry has that sign. Equal weights are the paper's scale lambda;
    where the signs weigh exactly the same, the base stays.

    With ``across="task"`` the tasks are read up to three times; what a task keeps whole (heads,
    buffers) is not counted.

    Attributes:
        density: share of entries to keep, 0 < density <= 1; taken as the decimal number it is
            written as.
        across: whether the largest entries are those of the whole task vector, as in the paper, or
            of each unit.
    """

    density: float = 0.2
    across: Literal["task", "unit"] = "task"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:  # also refuses NaN
            raise UsageError(f"density must be greater than 0 and at most 1, got {self.density!r}")
        if self.across not in ("task", "unit"):
            raise UsageError(f"across must be 'task' or 'unit', got {self.across!r}")

    def describe(self) -> dict[str, Any]:
        """See ``MergeMethod.describe``."""
        return {"name": "ties", "density": float(self.density), "across": self.across}

    def plan(self, merge: Merge) -> Combine:
        """See ``MergeMethod.plan``; tasks are summed in the order of their names."""
        tasks = merge.tasks
        least = thresholds(merge, Fraction(repr(float(self.density))), self.across)

        def combine(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            sums, counts = np.zeros((2, block.size)), np.zeros((2, block.size), np.int32)
            for number, frame in sorted(frames, key=lambda each: tasks[each[0]].task.name):
                positions, entries = differences(block, tasks[number].task.decode(frame))
                weight = np.float32(tasks[number].weight)
                _tally(sums, counts, weight, positions, entries, least[number, name])
            return restore(name, block, _elected(sums, counts))

        return combine


def _elected(sums: NDArray[np.float64], counts: NDArray[np.int32]) -> tuple[Any, Any]:
    """Positions and means of the sign with the greater sum; one that is not finite wins."""
    positive, negative = sums
    sign = (~(positive <= negative) | np.isinf(positive)).astype(np.int8) - (negative > positive)
    positions = np.flatnonzero(sign).astype(np.uint32)
    row = (sign[positions] < 0).astype(np.intp)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        means = sums[row, positions] / counts[row, positions] * sign[positions]
        return positions, means.astype(np.float32)


@kernel
def _tally(sums: Any, counts: Any, weight: Any, positions: Any, entries: Any, least: Any) -> None:
    """Add weighted entries that reach a magnitude's pattern to the sums [2, n] of their signs."""
    patterns = entries.view(np.uint32)
    for index in range(positions.size):
        if patterns[index] & np.uint32(0x7FFFFFFF) >= least:
            value = weight * entries[index]
            sign = 1 if value < 0 else 0
            sums[sign, positions[index]] += abs(np.float64(value))
            counts[sign, positions[index]] += 1 if value != 0 else 0
