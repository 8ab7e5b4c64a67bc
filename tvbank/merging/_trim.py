"""The magnitudes from which entries are kept, found exactly in two passes; nothing is sorted.

Magnitudes of floats are ordered like their patterns of 31 bits (NaN above all). The first pass
counts patterns by their upper 16 bits, the second those that begin as the quantile does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from itertools import islice
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.reader import StoredFrame
from tvbank.bank.task import Task
from tvbank.coding.kernel import kernel
from tvbank.layout import UnitRecord
from tvbank.merging._apply import differences
from tvbank.merging._method import Merge

_LOWER = 15
_FRAMES_AHEAD = 32  # whose counts may be in memory
_ANY = np.uint32(1)  # the pattern of the smallest magnitude that is not zero

#: Number of a task and name of a unit -> pattern of the smallest magnitude to keep.
Thresholds = dict[tuple[int, str], np.uint32]


def thresholds(merge: Merge, density: Fraction, across: Literal["task", "unit"]) -> Thresholds:
    """Where to cut so that ``ceil(density * n)`` of n entries are kept, and any equal to the last.

    Args:
        merge: the tasks and the base.
        density: share to keep, zeros counted, 0 < density <= 1.
        across: whether n counts the entries of the whole task or of each unit.

    Raises:
        CorruptionError: what is stored is missing or damaged.
    """
    units = merge.layout.units
    found: Thresholds = {}
    for group in [units] if across == "task" else [[unit] for unit in units]:
        quota = math.ceil(density * sum(unit.size for unit in group))
        for number, weighted in enumerate(merge.tasks):
            few = weighted.task.nonzeros <= quota
            least = _ANY if few else _least(merge, weighted.task, group, quota)
            found |= {(number, unit.name): least for unit in group}
    return found


def _least(merge: Merge, task: Task, group: Sequence[UnitRecord], quota: int) -> np.uint32:
    """Pattern of the magnitude of rank ``quota``, from 1, among the largest of some units."""
    upper = _counts(merge, task, group, -1)
    if int(upper.sum()) <= quota:
        return _ANY
    prefix, above = _descend(upper, quota)
    lower = _counts(merge, task, group, prefix)
    rest, _ = _descend(lower, quota - above)
    return np.uint32(prefix << _LOWER | rest)


def _descend(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """The last place such that it and those above count ``rank`` or more; the count above it."""
    downwards = np.cumsum(counts[::-1])
    steps = int(np.searchsorted(downwards, rank))
    return len(counts) - 1 - steps, int(downwards[steps] - counts[len(counts) - 1 - steps])


def _counts(
    merge: Merge, task: Task, group: Sequence[UnitRecord], prefix: int
) -> NDArray[np.int64]:
    """How often each value of the upper bits occurs, or of the lower bits behind a prefix."""
    counts = np.zeros(2**16 if prefix < 0 else 2**_LOWER, np.int64)
    for unit in group:
        base = merge.base.read_unchecked(unit.name) if task.element == "int32" else None
        block = partial(_block, base, merge.layout.chunk_length)
        job = partial(_count_frame, task, block, prefix)
        frames = task.frames(unit.name)
        while some := list(islice(frames, _FRAMES_AHEAD)):
            for part in merge.pool.map(job, some):
                counts += part
    return counts


def _block(base: NDArray[Any] | None, length: int, frame: StoredFrame) -> NDArray[Any]:
    """The base's weights of a chunk; differences that are stored as such need none."""
    if base is None:
        return np.empty(0, np.float32)
    return base.reshape(-1)[frame.first : frame.first + length]


def _count_frame(task: Task, block: Any, prefix: int, frame: StoredFrame) -> NDArray[np.int64]:
    _, entries = differences(block(frame), task.decode(frame))
    if prefix < 0:
        counts = np.zeros(2**16, np.int64)
        _count_upper(entries.view(np.uint32), counts)
    else:
        counts = np.zeros(2**_LOWER, np.int64)
        _count_lower(entries.view(np.uint32), np.uint32(prefix), counts)
    return counts


@kernel
def _count_upper(patterns: Any, counts: Any) -> None:
    for index in range(patterns.size):
        magnitude = patterns[index] & np.uint32(0x7FFFFFFF)
        counts[magnitude >> np.uint32(15)] += 1 if magnitude else 0


@kernel
def _count_lower(patterns: Any, prefix: Any, counts: Any) -> None:
    for index in range(patterns.size):
        magnitude = patterns[index] & np.uint32(0x7FFFFFFF)
        if magnitude and magnitude >> np.uint32(15) == prefix:
            counts[magnitude & np.uint32(0x7FFF)] += 1
