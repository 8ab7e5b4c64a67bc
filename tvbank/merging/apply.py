"""Adding entries to a part of a unit of the base, in the base's own element type."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.coding.steps import take_steps_at
from tvbank.errors import NonFiniteError

#: Positions, ascending, and entries, int32 (exact) or float32, there.
Sparse = tuple[NDArray[np.uint32], NDArray[Any]]


def restore(unit: str, base: NDArray[Any], sparse: Sparse) -> NDArray[Any]:
    """One task's weights of a part of a unit.

    Exact tasks: every bit of the fine-tune (spec/container.md, "Exact tasks"). Lossy tasks:
    ``base + entry``, added in float32 and rounded once to the base's element type; entries that
    the task does not touch keep every bit of the base.

    Args:
        unit: its name, for messages.
        base: the part's weights in the base, [n].
        sparse: positions [k] and entries [k] within the part.

    Raises:
        NonFiniteError: a sum does not fit the base's element type.
    """
    positions, entries = sparse
    if entries.dtype == np.float32 and len(positions) == len(base):  # all of them, as of a product
        with np.errstate(over="ignore"):
            return _finite(unit, (base.astype(np.float32) + entries).astype(base.dtype, copy=False))
    part = base.copy()
    if entries.dtype == np.int32:
        take_steps_at(part, positions, entries)
        return part
    places = positions.astype(np.intp)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        total = part[places].astype(np.float32, copy=False) + entries
        part[places] = _finite(unit, total.astype(base.dtype, copy=False))
    return part


def differences(base: NDArray[Any], sparse: Sparse) -> Sparse:
    """Entries as float32 differences from the base; the steps of exact tasks become such.

    Args:
        base: the part's weights in the base, [n]; lossy tasks need none.
        sparse: positions [k] and entries [k] within the part.
    """
    positions, entries = sparse
    if entries.dtype == np.float32:
        return positions, entries
    places = positions.astype(np.intp)
    start = base[places]
    end = start.copy()
    take_steps_at(end, np.arange(len(places), dtype=np.uint32), entries)
    with np.errstate(invalid="ignore"):  # signalling NaN; refused where it is added
        return positions, end.astype(np.float32) - start.astype(np.float32)


@final
class WeightedSum:
    """Accumulates ``base + sum of weight * (task - base)`` of a part of a unit in float32."""

    def __init__(self, unit: str, base: NDArray[Any]) -> None:
        """Start with the base's weights of the part, [n]."""
        self._unit, self._base = unit, base
        self._total = base.astype(np.float32)
        self._positions: list[NDArray[np.uint32]] = []

    def add(self, weight: float, sparse: Sparse) -> None:
        """Add one task's entries; the steps of exact tasks become differences first."""
        positions, entries = sparse
        self._positions.append(positions)
        if entries.dtype == np.float32:
            _add(self._total, np.float32(weight), positions, entries)
            return
        end = self._base.copy()
        take_steps_at(end, positions, entries)
        with np.errstate(invalid="ignore"):  # signalling NaN; refused in ``result``
            start, end = (part.astype(np.float32, copy=False) for part in (self._base, end))
        _add_difference(self._total, np.float32(weight), positions, start, end)

    def result(self) -> NDArray[Any]:
        """The sum in the base's element type; untouched entries keep every bit.

        Raises:
            NonFiniteError: a sum is NaN, or does not fit the base's element type.
        """
        with np.errstate(over="ignore"):
            rounded = self._total.astype(self._base.dtype, copy=False)
        if np.isfinite(rounded).all():  # then untouched entries came back through float32 as well
            return rounded
        part = self._base.copy()
        for positions in self._positions:
            part[positions] = _finite(self._unit, rounded[positions])
        return part


def _finite(unit: str, weights: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(weights).all():
        raise NonFiniteError(
            f"unit {unit!r}: a weight would become NaN or too large for {weights.dtype.name}; "
            "use smaller merging weights, or check that the base is finite"
        )
    return weights


@kernel
def _add_difference(total: Any, weight: Any, positions: Any, start: Any, end: Any) -> None:
    for index in range(positions.size):
        place = positions[index]
        total[place] += weight * (end[place] - start[place])


@kernel
def _add(total: Any, weight: Any, positions: Any, entries: Any) -> None:
    for index in range(positions.size):
        total[positions[index]] += weight * entries[index]
