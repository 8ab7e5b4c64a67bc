"""What the gates and the quantiser need to know of a unit: magnitudes by sign ([F] Eq. 6, 13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tvbank.compress import Difference
from tvbank.errors import NonFiniteError

#: Entries worked on at a time.
BLOCK = 2**17
#: float32 keeps thresholds, slopes and levels apart for magnitudes between these. A sign whose
#: entries are all smaller is taken not to occur: none of them is kept.
SMALLEST, LARGEST = 2.0**-80, 2.0**100


@final
@dataclass(frozen=True)
class Facts:
    """Magnitudes of a unit's positive and negative entries; zeros have no sign.

    Of pairs, the first is for positive entries.

    Attributes:
        size: number of entries.
        nonzeros: number of entries that are not zero.
        least: smallest magnitude of each sign; 0 where the sign does not occur.
        greatest: largest magnitude of each sign; 0 where the sign does not occur.
        squares: sum of the squares of all entries.
    """

    size: int
    nonzeros: int
    least: tuple[float, float]
    greatest: tuple[float, float]
    squares: float

    @property
    def empty(self) -> bool:
        """Whether nothing in the unit has changed."""
        return self.nonzeros == 0

    def range(self, sign: int) -> tuple[float, float]:
        """Where the threshold of a sign moves: its start v_min and its length r ([F] Eq. 7).

        Where all magnitudes of a sign are equal the paper's r is 0 and its gate 0/0. There the
        threshold moves from 0 to twice the magnitude: everything is kept or nothing, and both can
        be learned.
        """
        least, greatest = self.least[sign], self.greatest[sign]
        if greatest - least <= greatest * 2.0**-20:
            return 0.0, 2 * greatest
        return least, greatest - least


def survey(unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> Facts:
    """Read a unit once.

    Raises:
        NonFiniteError: for NaN or infinity, unless nothing in the unit has changed, or a difference
            beyond 2**100.
    """
    delta = Difference(unit, base, tuned)
    starts = range(0, delta.size, BLOCK)
    blocks = (delta.block(start, min(start + BLOCK, delta.size)) for start in starts)
    facts = _join(unit, delta.size, (_survey(block) for block in blocks))
    flat = base.reshape(-1)
    if not facts.empty and not all(_finite(flat[start : start + BLOCK]) for start in starts):
        raise NonFiniteError(
            f"unit {unit!r} has entries that are NaN or infinite, beside others that changed; "
            "FlexSwitch cannot learn it: use Exact (--method exact) or repair the checkpoint"
        )
    return facts


def _finite(block: NDArray[Any]) -> bool:
    return bool(np.isfinite(block.astype(np.float32, copy=False)).all())


def _join(unit: str, size: int, parts: Iterable[NDArray[np.float64]]) -> Facts:
    total = np.array([np.inf, np.inf, 0.0, 0.0, 0.0, 0.0])
    for part in parts:
        total[:2] = np.minimum(total[:2], part[:2])
        total[2:4] = np.maximum(total[2:4], part[2:4])
        total[4:] += part[4:]
    there = total[2:4] >= SMALLEST
    total[2:4] = np.where(there, total[2:4], 0.0)
    greatest = total[2:4].max()
    if greatest > LARGEST:
        raise NonFiniteError(
            f"unit {unit!r} has a difference of {greatest:.3g}, more than FlexSwitch can take: "
            "use Exact (--method exact) or repair the checkpoint"
        )
    if not there.any():
        return Facts(size, 0, (0.0, 0.0), (0.0, 0.0), 0.0)
    least = np.where(there, total[:2], 0.0)
    return Facts(
        size,
        int(total[4]),
        (float(least[0]), float(least[1])),
        (float(total[2]), float(total[3])),
        float(total[5]),
    )


@njit(cache=True, nogil=True)
def _survey(delta: Any) -> Any:
    found = np.array([np.inf, np.inf, 0.0, 0.0, 0.0, 0.0])
    for value in delta:
        if value != 0:
            sign = 0 if value > 0 else 1
            magnitude = abs(np.float64(value))
            found[sign] = min(found[sign], magnitude)
            found[2 + sign] = max(found[2 + sign], magnitude)
            found[4] += 1
            found[5] += magnitude * magnitude
    return found
