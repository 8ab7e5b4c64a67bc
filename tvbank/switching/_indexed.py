"""Other devices and strides: torch's index operations, with positions decoded on the CPU.

Only the touched weights travel: they are taken from the tensor, computed on the CPU by the very
code that ``tvbank.export`` and ``tvbank.merge`` use, and put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.coding.decoding.decode import decode_frames
from tvbank.coding.decoding.positions import run_tables_address
from tvbank.coding.decoding.table import NONZEROS, address_of, give_base
from tvbank.merging.apply import WeightedSum, restore
from tvbank.merging.tensor import to_torch
from tvbank.switching._memory import Target, writing
from tvbank.switching._record import Undo
from tvbank.switching._resident import ResidentTask

#: Positions within a unit, int64 ascending, and the entries there.
_Sparse = tuple[NDArray[np.int64], NDArray[Any]]


@final
class IndexedUndo(Undo):
    """Old weights of one target that is not direct, on the target's own device."""

    def __init__(self, cells: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> None:
        """Keep them; ``cells``, of each piece: flat memory, offsets in it, and what was there."""
        self._cells = cells

    def restore(self) -> None:
        """See ``Undo.restore``."""
        for flat, offsets, old in self._cells:
            with writing(flat):
                flat[offsets] = old


@final
class IndexedAddition:
    """An addition to one target, computed but not yet written.

    Attributes:
        undo: the way back.
    """

    def __init__(
        self,
        target: Target,
        unit: str,
        parts: Sequence[tuple[_Sparse, float | None]],
    ) -> None:
        """Compute the new weights.

        Args:
            target: where they go.
            unit: its name, for messages.
            parts: entries and weight of each task; ``None`` for one task itself.

        Raises:
            NonFiniteError: a weight would become NaN or infinite.
        """
        positions = np.unique(np.concatenate([sparse[0] for sparse, _ in parts]))
        self._cells = [piece.cells(positions) for piece in target.pieces]
        olds = [flat[offsets] for flat, offsets, _ in self._cells]
        self.undo = IndexedUndo(
            [(flat, at, old) for (flat, at, _), old in zip(self._cells, olds, strict=True)]
        )
        before = olds[0]
        if len(olds) > 1:
            before = olds[0].new_empty(len(positions))
            for (_, _, chosen), old in zip(self._cells, olds, strict=True):
                before[chosen] = old.to(before.device)
        after = _sum(unit, target.narrowed(before), positions, parts)
        self._new = to_torch(np.ascontiguousarray(after)).to(before.dtype)

    def write(self) -> None:
        """Write the new weights."""
        for flat, offsets, chosen in self._cells:
            new = self._new if chosen is None else self._new[chosen]
            with writing(flat):
                flat[offsets] = new.to(flat.device)


def indexed_additions(
    tasks: Sequence[tuple[ResidentTask, float | None]],
) -> dict[Target, list[tuple[_Sparse, float | None]]]:
    """Decode what goes to targets that are not direct, by target, in the order of the tasks.

    Raises:
        CorruptionError: a frame violates the spec; says where.
    """
    by_target: dict[Target, list[tuple[_Sparse, float | None]]] = {}
    for task, weight in tasks:
        for target, rows, firsts in task.indirect:
            sparse = _decode(task, target, rows, firsts)
            by_target.setdefault(target, []).append((sparse, weight))
    return by_target


def _decode(
    task: ResidentTask, target: Target, rows: NDArray[np.int64], firsts: NDArray[np.int64]
) -> _Sparse:
    frames = task.frames
    start = target.weights().reshape(-1) if task.is_given else np.empty(0)
    if task.is_given:  # the target is in the state that the frames start from
        table = frames.table[rows]
        width = start.dtype.itemsize
        give_base(table, firsts * width + np.int64(address_of(start)), width)
        frames.table[rows] = table
    counts = frames.table[rows, NONZEROS]
    positions = np.empty(int(counts.sum()), np.uint32)
    patterns = np.empty_like(positions)
    row = decode_frames(
        frames.table, rows, task.is_float, address_of(positions), address_of(patterns),
        run_tables_address(),
    )  # fmt: skip
    if row >= 0:
        first = int(firsts[np.flatnonzero(rows == row)[0]])
        task.explain(int(row), start[first:] if task.is_given else None)
    entries: NDArray[Any] = patterns.view(np.float32 if task.is_float else np.int32)
    return positions.astype(np.int64) + np.repeat(firsts, counts), entries


def _sum(
    unit: str,
    before: NDArray[Any],
    positions: NDArray[np.int64],
    parts: Sequence[tuple[_Sparse, float | None]],
) -> NDArray[Any]:
    """The touched weights of a unit after some tasks."""
    places = [np.searchsorted(positions, some).astype(np.uint32) for (some, _), _ in parts]
    if parts[0][1] is None:
        return restore(unit, before, (places[0], parts[0][0][1]))
    total = WeightedSum(unit, before)
    for place, ((_, entries), weight) in zip(places, parts, strict=True):
        assert weight is not None
        total.add(weight, (place, entries))
    return total.result()
