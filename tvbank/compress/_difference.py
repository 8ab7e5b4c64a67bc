"""The difference of two versions of a unit, in float32, as every lossy compressor takes it."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.dtypes import ELEMENT_TYPES
from tvbank.errors import NonFiniteError


def is_float(dtype: str) -> bool:
    """Whether a lossy compressor can subtract an element type."""
    return ELEMENT_TYPES[dtype].is_float


@final
class Difference:
    """``tuned - base`` of one unit, subtracted block by block whenever a block is asked for.

    Subtracting again costs less than keeping: of a unit of any size, only blocks exist.

    Attributes:
        unit: its name.
        size: number of entries.
    """

    def __init__(self, unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> None:
        self.unit = unit
        self._base, self._tuned = base.reshape(-1), tuned.reshape(-1)
        self.size = self._base.size

    def block(self, start: int, stop: int) -> NDArray[np.float32]:
        """Entries ``start`` to ``stop``, float32; those with equal values are 0, infinite or not.

        Raises:
            NonFiniteError: for NaN or infinity in what changed, or a difference beyond float32.
        """
        old = self._base[start:stop].astype(np.float32, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            new = self._tuned[start:stop].astype(np.float32, copy=False)
            delta = new - old
        finite = np.isfinite(delta)
        if not finite.all():
            same = (new == old) | (np.isnan(new) & np.isnan(old))
            delta[same] = 0
            if not (finite | same).all():
                first = start + int(np.argmin(finite | same))
                raise NonFiniteError(
                    f"unit {self.unit!r} has entries that are NaN or infinite, or whose "
                    f"difference is (the first at {first}); a lossy compressor cannot take them: "
                    "use Exact (--method exact) or repair the checkpoint"
                )
        return delta
