"""The difference of two versions of a unit, in float32, as every lossy compressor takes it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.dtypes import DTYPES
from tvbank.errors import NonFiniteError

_FLOATS = frozenset(name for name in DTYPES if "float" in name)


def is_float(dtype: str) -> bool:
    """Whether a lossy compressor can subtract an element type."""
    return dtype in _FLOATS


def difference(unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> NDArray[np.float32]:
    """``tuned - base``, flat, [size] float32; entries with equal values are zero, infinite or not.

    Raises:
        NonFiniteError: for NaN or infinity in what changed, or a difference beyond float32.
    """
    start = base.reshape(-1).astype(np.float32, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        end = tuned.reshape(-1).astype(np.float32, copy=False)
        delta = end - start
    finite = np.isfinite(delta)
    if not finite.all():
        same = (end == start) | (np.isnan(end) & np.isnan(start))
        delta[same] = 0
        bad = np.flatnonzero(~(finite | same))
        if len(bad):
            raise NonFiniteError(
                f"unit {unit!r} has {len(bad)} entries that are NaN or infinite, or whose "
                f"difference is (the first at {int(bad[0])}); a lossy compressor cannot take them: "
                "use Exact (--method exact) or repair the checkpoint"
            )
    return delta
