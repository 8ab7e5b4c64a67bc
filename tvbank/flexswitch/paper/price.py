"""What the paper charges for a task ([F] Eq. 14), and how fast gates and widths harden."""

from __future__ import annotations

from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank.flexswitch.paper.gates import LOGITS, SCALARS, WIDTHS, shares, slope

_WIDTHS = np.array(WIDTHS, np.float64)
_MOST = max(WIDTHS)
#: ρ and ω start at 1 and are multiplied by this so many times: every 10 of the paper's 500 steps.
_COOLING: Final = 0.9
_TIMES: Final = 50
Rows = NDArray[np.float64]

#: What is learned alone: gates (LGS) over entries as they are, or bit widths (BAS) of all entries;
#: ``None`` for both.
Part = Literal["lgs", "bas"] | None


def temperature_at(step: int, steps: int) -> float:
    """ρ and ω after some of a run's steps; a run of any length ends as hard as one of 500."""
    return float(_COOLING ** (_TIMES * step // steps))


def bits(rows: Rows, temperature: float) -> Rows:
    """Expected bits of a kept entry, w̄ of each unit: float64 [units] ([F] Eq. 14)."""
    return np.array([shares(row[LOGITS], temperature) @ _WIDTHS for row in rows])


@final
class PaperPrice:
    """Σ‖M‖₁/Σn + Σ w̄/(L·max W) ([F] Eq. 14); units without changes do not count in L."""

    def __init__(self, sizes: Rows, changed: NDArray[np.bool_], part: Part = None) -> None:
        """Take the entries of each unit, which units have changed, and what alone is priced."""
        self._gated, self._quantised = part != "bas", part != "lgs"
        self._entries = max(float(sizes.sum()), 1.0)
        self._changed, self._units = changed, max(int(changed.sum()), 1)

    def of(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """The price and its gradient in the scalars, float64 [units, 7].

        Args:
            rows: scalars, [units, 7].
            temperature: ρ and ω.
            gates: sums of M and of M±·(1 − M±) over each unit's entries, [units, 3].
        """
        of_bits = self._quantised * self._changed / (self._units * _MOST)
        total = float(bits(rows, temperature) @ of_bits)
        total += self._gated * float(gates[:, 0].sum()) / self._entries
        gradient = np.zeros((len(rows), SCALARS))
        for number, row in enumerate(rows):
            gradient[number, :2] = (
                -(1 / self._entries) * gates[number, 1:] * slope(row) / temperature
            )
            weights = shares(row[LOGITS], temperature)
            spread = weights * (_WIDTHS - weights @ _WIDTHS) / temperature
            gradient[number, LOGITS] = of_bits[number] * spread
        return total, gradient


def bits_of(sizes: Rows, changed: NDArray[np.bool_], kept: Rows, widths: Rows) -> Rows:
    """Bits of masks at their entropy, and of values, by the number of kept entries: [units]."""
    sizes = np.maximum(sizes, 1.0)
    return np.asarray(changed * (sizes * entropy(kept / sizes) + kept * widths))


def entropy(density: Rows) -> Rows:
    """H(d) in bits; 1 from d = ½ on, as if every mask were at most that wasteful."""
    d = np.clip(density, 1e-12, 0.5)
    return np.asarray(-d * np.log2(d) - (1 - d) * np.log2(1 - d))
