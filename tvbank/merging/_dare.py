"""DARE: drop entries at random, rescale what is left, then add (Yu et al. 2024)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress.chance import GAMMA, uniform
from tvbank.errors import UsageError
from tvbank.merging._assemble import Combine, NumberedFrame
from tvbank.merging._method import Merge, MergeMethod
from tvbank.merging.apply import WeightedSum

_PIECE = 2**20  # entries whose draws are made at once


@final
@dataclass(frozen=True)
class Dare(MergeMethod):
    """Every entry of every task is dropped with one probability p; the others times 1 / (1 - p).

    The base plus the weighted sum of what is left. Whether an entry is dropped depends on the seed,
    the names of its task and unit, and its position in the unit: not on the other tasks, their
    order, the chunk length or the number of cores. The bit-exact rule: it is dropped if
    ``u < drop`` where u is the upper 53 bits, divided by 2**53, of the number of rank ``position``
    (from 0) that SplitMix64 yields from a state of the first 8 bytes, little-endian, of the
    SHA-256 of ``seed``, ``task`` and ``unit`` as text joined by NUL.

    Attributes:
        drop: the probability, 0 <= drop < 1.
        seed: any integer.
    """

    drop: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.drop < 1:  # also refuses NaN
            raise UsageError(f"drop must be at least 0 and less than 1, got {self.drop!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise UsageError(f"seed must be an integer, got {self.seed!r}")

    def describe(self) -> dict[str, Any]:
        """See ``MergeMethod.describe``."""
        return {"name": "dare", "drop": float(self.drop), "seed": self.seed}

    def plan(self, merge: Merge) -> Combine:
        """See ``MergeMethod.plan``; tasks are summed in the order of their names."""
        tasks = merge.tasks
        rescale = 1 / (1 - self.drop)

        def combine(
            name: str, block: NDArray[Any], frames: Sequence[NumberedFrame]
        ) -> NDArray[Any]:
            total = WeightedSum(name, block)
            for number, frame in sorted(frames, key=lambda each: tasks[each[0]].task.name):
                task, weight = tasks[number].task, tasks[number].weight
                positions, entries = task.decode(frame, block)
                state = _state(self.seed, task.name, name)
                kept = _kept(positions, np.uint64(frame.first), state, self.drop)
                total.add(weight * rescale, (positions[kept], entries[kept]))
            return total.result()

        return combine


def kept_at_random(seed: int, task: str, unit: str, size: int, drop: float) -> NDArray[np.bool_]:
    """Which entries of a unit ``Dare`` would keep, bool [size]."""
    state, kept = _state(seed, task, unit), np.empty(size, np.bool_)
    for first in range(0, size, _PIECE):
        positions = np.arange(min(_PIECE, size - first), dtype=np.uint32)
        part = _kept(positions, np.uint64(first), state, float(drop))
        kept[first : first + len(part)] = part
    return kept


def _state(seed: int, task: str, unit: str) -> np.uint64:
    digest = hashlib.sha256("\0".join((str(seed), task, unit)).encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


@kernel
def _kept(positions: Any, first: Any, state: Any, drop: float) -> Any:
    """Which entries are not dropped: bool [n], by positions in a chunk that begins at ``first``."""
    kept = np.empty(positions.size, np.bool_)
    for index in range(positions.size):
        rank = first + np.uint64(positions[index])
        kept[index] = uniform(state + rank * GAMMA) >= drop
    return kept
