"""Adding entries to one unit of the base, in the base's own element type."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.entries import Sparse
from tvbank.compress.exact import take_steps
from tvbank.errors import NonFiniteError


def restore(unit: str, base: NDArray[Any], sparse: Sparse) -> NDArray[Any]:
    """One task's weights of a unit.

    Exact tasks: every bit of the fine-tune (spec/container.md, "Exact tasks"). Lossy tasks:
    ``base + entry``, added in float32 and rounded once to the base's element type; entries that
    the task does not touch keep every bit of the base.

    Args:
        unit: its name, for messages.
        base: its weights in the base, any shape.
        sparse: positions int64 [k] and entries, int32 (exact) or float32, [k].

    Raises:
        NonFiniteError: a sum does not fit the base's element type.
    """
    positions, entries = sparse
    flat = base.reshape(-1).copy()
    if entries.dtype == np.int32:
        flat[positions] = take_steps(flat[positions], entries)
    else:
        with np.errstate(over="ignore"):  # what becomes infinite is refused when rounded
            total = flat[positions].astype(np.float32) + entries
        flat[positions] = _rounded(unit, total, base.dtype)
    return flat.reshape(base.shape)


@final
class WeightedSum:
    """Accumulates ``base + sum of weight * (task - base)`` of one unit in float32."""

    def __init__(self, unit: str, base: NDArray[Any]) -> None:
        self._unit, self._base = unit, base
        self._flat = base.reshape(-1)
        self._total = self._flat.astype(np.float32)
        self._touched = np.zeros(self._flat.size, np.bool_)

    def add(self, weight: float, sparse: Sparse) -> None:
        """Add one task's entries; the steps of exact tasks become differences first."""
        positions, entries = sparse
        if entries.dtype == np.int32:
            start = self._flat[positions]
            with np.errstate(invalid="ignore", over="ignore"):  # NaN is refused in ``result``
                end = take_steps(start, entries).astype(np.float32)
                entries = end - start.astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # refused in ``result``, too
            self._total[positions] += np.float32(weight) * entries
        self._touched[positions] = True

    def result(self) -> NDArray[Any]:
        """The sum, in the base's shape and element type; untouched entries keep every bit.

        Raises:
            NonFiniteError: a sum is NaN, or does not fit the base's element type.
        """
        flat = self._flat.copy()
        rounded = _rounded(self._unit, self._total[self._touched], self._base.dtype)
        flat[self._touched] = rounded
        return flat.reshape(self._base.shape)


def _rounded(unit: str, total: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        rounded = total.astype(dtype, copy=False)
    if not np.isfinite(rounded).all():
        raise NonFiniteError(
            f"unit {unit!r}: a weight would become NaN or too large for {dtype.name}; "
            "use smaller merging weights, or check that the base is finite"
        )
    return rounded
