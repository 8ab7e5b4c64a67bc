"""Adding entries to a part of a unit of the base, in the base's own element type."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tvbank.compress.exact import take_steps
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
    if entries.dtype == np.int32:
        return take_steps(base, _steps(base, sparse))
    part = base.copy()
    places = positions.astype(np.intp)
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        total = part[places].astype(np.float32, copy=False) + entries
        part[places] = _finite(unit, total.astype(base.dtype, copy=False))
    return part


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
        if entries.dtype == np.int32:
            with np.errstate(invalid="ignore", over="ignore"):  # NaN is refused in ``result``
                end = take_steps(self._base, _steps(self._base, sparse)).astype(np.float32)
                entries = (end - self._base.astype(np.float32))[positions]
        _add(self._total, np.float32(weight), positions, entries)

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


def _steps(base: NDArray[Any], sparse: Sparse) -> NDArray[np.int32]:
    """The steps of every entry of a part."""
    steps = np.zeros(base.size, np.int32)
    steps[sparse[0].astype(np.intp)] = sparse[1]
    return steps


def _finite(unit: str, weights: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(weights).all():
        raise NonFiniteError(
            f"unit {unit!r}: a weight would become NaN or too large for {weights.dtype.name}; "
            "use smaller merging weights, or check that the base is finite"
        )
    return weights


@njit(cache=True, nogil=True)
def _add(total: Any, weight: Any, positions: Any, entries: Any) -> None:
    for index in range(positions.size):
        total[positions[index]] += weight * entries[index]
