"""An update in two stages: rows that move by few steps first, then those that move by many.

Of a word embedding in float32 most rows belong to words that no text had. Weight decay alone moves
them, by a few steps; those that were trained move by millions. All steps of a chunk share their
laws, which are then too coarse to tell the few apart (docs/measured/updates.md): so they become a
task of their own, from whose state the update starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.compress.exact import steps_between
from tvbank.layout import UnitRecord
from tvbank.vector import BaseModel, FineTune

#: The least magnitude of step that is not few; and how many times that many steps are.
_FEW: Final = 256
_MANY: Final = 64 * _FEW
#: Entries of the smallest unit, and of the shortest row, for which two stages are worth a thought.
_LEAST, _SHORTEST = 1 << 18, 64
#: Rows that are looked at first, and the least share of them that tells.
_SAMPLE, _SHARE = 64, 0.2


def first_stage(fine_tune: FineTune, base: BaseModel) -> FirstStage | None:
    """The checkpoint on the way to the new one, if two stages take fewer bytes; mostly None.

    Args:
        fine_tune: the new checkpoint.
        base: the old one.
    """
    rows: dict[str, NDArray[np.bool_]] = {}
    for unit in fine_tune.layout.units:
        if _is_large_matrix(unit) and unit.name not in fine_tune.absent:
            spec = fine_tune.spec(unit.name)
            if (spec.dtype, spec.shape) == (unit.dtype, unit.shape):
                few = _rows_of_few(base.read_unchecked(unit.name), fine_tune.read(unit.name))
                if few is not None:
                    rows[unit.name] = few
    return FirstStage(fine_tune, base, rows) if rows else None


def _is_large_matrix(unit: UnitRecord) -> bool:
    # Steps of 16 bits are never so far apart that their laws suffer.
    matrix = unit.dtype == "float32" and len(unit.shape) > 1 and unit.size >= _LEAST
    return matrix and unit.size // unit.shape[0] >= _SHORTEST


def _rows_of_few(old: NDArray[Any], new: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which rows move by few steps, if many of them do and others by many; a few rows tell."""
    before, after = (array.reshape(len(array), -1) for array in (old, new))
    every = max(1, len(before) // _SAMPLE)
    if _told(before[::every], after[::every]) is None:
        return None
    return _told(before, after)


def _told(before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.bool_] | None:
    steps = steps_between(before, after).reshape(before.shape)
    farthest = np.maximum(steps.max(1).astype(np.int64), -steps.min(1).astype(np.int64))
    few, many = (farthest > 0) & (farthest < _FEW), farthest >= _MANY
    return few if few.mean() >= _SHARE and many.any() else None


@final
class FirstStage(Checkpoint):
    """The old checkpoint in which rows that move by few steps are those of the new one.

    Attributes:
        rows: bool [rows], which ones, by the name of the unit.
    """

    def __init__(
        self, fine_tune: FineTune, base: BaseModel, rows: Mapping[str, NDArray[np.bool_]]
    ) -> None:
        """Read nothing yet; both checkpoints stay open as long as this is used."""
        layout = fine_tune.layout
        specs = {
            each.name: TensorSpec(each.name, each.dtype, each.shape) for each in layout.records
        }
        super().__init__(fine_tune.source, specs, layout.tied)
        self._fine_tune, self._base, self.rows = fine_tune, base, rows

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        old = self._base.read_unchecked(spec.name)
        rows = self.rows.get(spec.name)
        if rows is None:
            return old
        made = old.copy()
        made[rows] = self._fine_tune.read(spec.name)[rows]
        return made

    def _close(self) -> None:
        """Nothing is held."""
