"""Buffers under a weighted sum of tasks: averaged as ``tvbank.merge`` does, after the sum."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.merging.blend import (
    Part,
    blend,
    is_domain,
    kept_buffers,
    named_buffers,
    remark_on_unmerged,
)
from tvbank.merging.tensor import to_torch
from tvbank.switching._heads import Swap
from tvbank.switching._memory import Target
from tvbank.switching._model import AttachedModel
from tvbank.switching._resident import ResidentTask
from tvbank.vector.evidence import LARGEST_VECTOR, is_never_negative, is_vector

#: Tasks with their weights.
_Weighted = Sequence[tuple[ResidentTask, float]]


@final
class Blends:
    """The buffers of an attached model, as they are in the base."""

    def __init__(self, model: AttachedModel) -> None:
        """Copy the base's buffers and what may be one; the model is the base now."""
        self._layout, self._model = model.layout, model
        named = named_buffers(model.layout)
        self._base: dict[str, NDArray[Any]] = {}
        self._positive: list[tuple[str, Target]] = []
        for record in model.layout.records:
            targets = model.homes(record.name)
            vector = is_vector(record.shape) and record.name in model.layout.by_name
            if not targets or not (record.name in named or vector):
                continue
            if np.prod(record.shape, dtype=object) > LARGEST_VECTOR:
                continue
            base = _weights(targets[0])
            if record.name in named:
                self._base[record.name] = base
            elif is_never_negative(base):
                self._base[record.name] = base
                self._positive.append((record.name, targets[0]))
        self._named = frozenset(self._base) - {name for name, _ in self._positive}

    def kept(self, tasks: _Weighted) -> set[str]:
        """The buffers that some task keeps whole; warns of what stays as in the base.

        Raises:
            UnitMismatchError: a task keeps a unit whole that cannot be merged.
        """
        kept = kept_buffers(self._layout, [task.stored for task, _ in tasks])
        taking = [task.stored for task, weight in tasks if weight]
        if remark := remark_on_unmerged(self._layout, taking, kept):
            warnings.warn(remark, UserWarning, stacklevel=4)
        return kept

    def unknown(self, kept: Collection[str]) -> list[str]:
        """Those of the buffers kept whole of which the base's values are not at hand."""
        return [name for name in kept if name not in self._base and self._model.homes(name)]

    def remember(self, names: Collection[str]) -> None:
        """Copy some more units; the model is the base now."""
        for name in names:
            self._base[name] = _weights(self._model.homes(name)[0])

    def swaps(self, tasks: _Weighted, kept: Collection[str]) -> list[Swap]:
        """What takes the place of sums that have just been written.

        Args:
            tasks: with their weights.
            kept: what ``kept`` returned for them.
        """
        swaps: list[Swap] = []
        for name in sorted((self._named | set(kept)) & self._base.keys()):
            swaps += self._swap(name, self._parts(name, tasks))
        for name, target in self._positive:
            if name not in kept and bool((target.read() < 0).any()):
                parts = self._parts(name, tasks)
                swaps += self._swap(name, parts) if is_domain(parts) else []
        return swaps

    def _parts(self, name: str, tasks: _Weighted) -> list[Part]:
        return [(weight, task.values(name, self._base[name])) for task, weight in tasks]

    def _swap(self, name: str, parts: Sequence[Part]) -> list[Swap]:
        if all(values is None for _, values in parts):
            return []
        tensor = to_torch(np.array(blend(self._base[name], parts), order="C"))
        return [
            Swap(
                piece.places,
                piece.of_unit(tensor).to(piece.tensor.device, piece.tensor.dtype),
                alone=True,
                window=piece.window,
            )
            for target in self._model.homes(name)
            for piece in target.pieces
        ]


def _weights(target: Target) -> NDArray[Any]:
    return target.weights().copy()
