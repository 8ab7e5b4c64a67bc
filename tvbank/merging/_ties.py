"""TIES: trim, elect a sign, average those that agree (Yadav et al. 2023).

The magnitudes from which entries are kept are selected by radix in two passes over a task's frames:
first the upper 16 bits of their patterns, then the lower 15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.frames import StoredFrame
from tvbank.bank.task import Task
from tvbank.coding.kernel import kernel
from tvbank.compress.selection import Digit, count, locate
from tvbank.errors import UsageError
from tvbank.layout import UnitRecord
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._method import Merge, MergeMethod
from tvbank.merging.apply import differences, restore

#: Bits that the two passes over a task's magnitudes count.
_UPPER: Digit = (15, 16)
_LOWER: Digit = (0, 15)
_FRAMES_AHEAD = 32  # whose counts may be in memory
_ANY = np.uint32(1)  # the pattern of the smallest magnitude that is not zero

#: Number of a task and name of a unit -> pattern of the smallest magnitude to keep.
_Thresholds = dict[tuple[int, str], np.uint32]


@final
@dataclass(frozen=True)
class Ties(MergeMethod):
    """Of every task keep the largest entries; of every entry, the tasks of the stronger sign.

    *Trim*: of the n entries of each task, zeros included, the ``ceil(density * n)`` with the
    largest magnitudes are kept, and all that equal the smallest of them. *Elect*: each entry takes
    the sign of the weighted sum of what is left. *Merge*: the base plus the mean of ``weight *
    entry`` over the tasks whose entry has that sign. Equal weights are the paper's scale lambda;
    where the signs weigh exactly the same, the base stays.

    With ``divide_by="weights"`` the mean is weighted, as mergekit's: the sum of ``weight * entry``
    over the tasks whose entry has the elected sign, over the sum of their weights (over 1, if that
    is 0). Equal weights then cancel out, where otherwise they scale. What still differs from
    mergekit 0.1.5: it trims each unit by itself, to the whole part of ``density * n`` entries, of
    equal ones any; and where the signs weigh the same it takes plus. A recipe's ``ties`` (see
    ``merge_recipe``) is mergekit's in all of this.

    With ``across="task"`` the tasks are read up to three times; what a task keeps whole (heads,
    buffers) is not counted.

    Attributes:
        density: share of entries to keep, 0 < density <= 1; taken as the decimal number it is
            written as.
        across: whether the largest entries are those of the whole task vector, as in the paper, or
            of each unit.
        divide_by: whether sums are divided by how many tasks agree, as in the paper, or by the sum
            of their weights.
    """

    density: float = 0.2
    across: Literal["task", "unit"] = "task"
    divide_by: Literal["tasks", "weights"] = "tasks"

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:  # also refuses NaN
            raise UsageError(f"density must be greater than 0 and at most 1, got {self.density!r}")
        if self.across not in ("task", "unit"):
            raise UsageError(f"across must be 'task' or 'unit', got {self.across!r}")
        if self.divide_by not in ("tasks", "weights"):
            raise UsageError(f"divide_by must be 'tasks' or 'weights', got {self.divide_by!r}")

    def describe(self) -> dict[str, Any]:
        """See ``MergeMethod.describe``."""
        chosen = {"density": float(self.density), "across": self.across}
        return {"name": "ties", **chosen, "divide_by": self.divide_by}

    def plan(self, merge: Merge) -> Combine:
        """See ``MergeMethod.plan``; tasks are summed in the order of their names."""
        tasks = merge.tasks
        least = _thresholds(merge, Fraction(repr(float(self.density))), self.across)
        weighted = self.divide_by == "weights"

        def combine(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            sums = np.zeros((2, block.size))
            divisors = np.zeros((2, block.size), np.float64 if weighted else np.int32)
            for number, frame in sorted(frames, key=lambda each: tasks[each[0]].task.name):
                positions, entries = differences(block, tasks[number].task.decode(frame, block))
                weight = np.float32(tasks[number].weight)
                share = np.float64(weight) if weighted else np.int32(1)
                _tally(sums, divisors, weight, share, positions, entries, least[number, name])
            if weighted:
                divisors[divisors == 0] = 1
            return restore(name, block, _elected(sums, divisors))

        return combine


def _thresholds(merge: Merge, density: Fraction, across: Literal["task", "unit"]) -> _Thresholds:
    """Where to cut so that ``ceil(density * n)`` of n entries are kept, and any equal to the last.

    Args:
        merge: the tasks and the base.
        density: share to keep, zeros counted, 0 < density <= 1.
        across: whether n counts the entries of the whole task or of each unit.

    Raises:
        CorruptionError: what is stored is missing or damaged.
        BaseMismatchError: the base has other weights, beside which frames cannot be decoded.
    """
    units = merge.layout.units
    thresholds: _Thresholds = {}
    for group in [units] if across == "task" else [[unit] for unit in units]:
        quota = math.ceil(density * sum(unit.size for unit in group))
        for number, weighted in enumerate(merge.tasks):
            few = sum(each.nonzeros for each in weighted.task.lineage) <= quota
            least = _ANY if few else _least(merge, weighted.task, group, quota)
            thresholds |= {(number, unit.name): least for unit in group}
    return thresholds


def _least(merge: Merge, task: Task, group: Sequence[UnitRecord], quota: int) -> np.uint32:
    """Pattern of the magnitude of rank ``quota``, from 1, among the largest of some units."""
    upper = _counts(merge, task, group, _UPPER)
    entries = int(upper.sum())
    if entries <= quota:
        return _ANY
    prefix, rank = locate(upper, entries - quota)
    rest, _ = locate(_counts(merge, task, group, _LOWER, prefix), rank)
    return np.uint32(prefix << _LOWER[1] | rest)


def _counts(
    merge: Merge, task: Task, group: Sequence[UnitRecord], digit: Digit, prefix: int = 0
) -> NDArray[np.int64]:
    """How often each value of some bits occurs in magnitudes that begin with a prefix."""
    counts = np.zeros(2 ** digit[1], np.int64)
    for unit in group:
        if unit.name not in task:  # it keeps that buffer whole
            continue
        base = merge.base.read_unchecked(unit.name) if task.element == "int32" else None
        block = partial(_block, base, merge.layout.chunk_length)
        job = partial(_count_frame, task, block, digit, prefix)
        frames = task.frames(unit.name)
        with merge.base.blamed(unit.name):
            while some := list(islice(frames, _FRAMES_AHEAD)):
                for part in merge.pool.map(job, some):
                    counts += part
    return counts


def _block(base: NDArray[Any] | None, length: int, frame: StoredFrame) -> NDArray[Any]:
    """The base's weights of a chunk; differences that are stored as such need none."""
    if base is None:
        return np.empty(0, np.float32)
    return base.reshape(-1)[frame.first : frame.first + length]


def _count_frame(
    task: Task, block: Any, digit: Digit, prefix: int, frame: StoredFrame
) -> NDArray[np.int64]:
    weights = block(frame)
    _, entries = differences(weights, task.decode(frame, weights))
    counts = np.zeros((2, 2 ** digit[1]), np.int64)
    count(np.abs(entries), (prefix, -1), digit, counts)  # all of them are positive
    positive: NDArray[np.int64] = counts[0]
    return positive


def _elected(sums: NDArray[np.float64], divisors: NDArray[Any]) -> tuple[Any, Any]:
    """Positions and means of the sign with the greater sum; one that is not finite wins."""
    positive, negative = sums
    sign = (~(positive <= negative) | np.isinf(positive)).astype(np.int8) - (negative > positive)
    positions = np.flatnonzero(sign).astype(np.uint32)
    row = (sign[positions] < 0).astype(np.intp)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused
        means = sums[row, positions] / divisors[row, positions] * sign[positions]
        return positions, means.astype(np.float32)


@kernel
def _tally(
    sums: Any, divisors: Any, weight: Any, share: Any, positions: Any, entries: Any, least: Any
) -> None:
    """Add weighted entries that reach a magnitude's pattern to the sums [2, n] of their signs.

    A task whose entry counts adds its share to the divisor of the sign.
    """
    patterns = entries.view(np.uint32)
    for index in range(positions.size):
        if patterns[index] & np.uint32(0x7FFFFFFF) >= least:
            value = weight * entries[index]
            sign = 1 if value < 0 else 0
            sums[sign, positions[index]] += abs(np.float64(value))
            divisors[sign, positions[index]] += share if value != 0 else 0 * share
