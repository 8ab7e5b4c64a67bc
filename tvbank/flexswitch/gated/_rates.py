"""What the paper charges for a compressed task, and how that changes with the scalars."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.flexswitch.gated._gates import LOGITS, SCALARS, WIDTHS, shares, slope

_WIDTHS = np.array(WIDTHS, np.float64)
_MOST = max(WIDTHS)
Rows = NDArray[np.float64]


def entropy(density: Rows) -> Rows:
    """H(d) in bits; 1 from d = ½ on, as if all masks were at most that wasteful."""
    d = np.clip(density, 1e-12, 0.5)
    return np.asarray(-d * np.log2(d) - (1 - d) * np.log2(1 - d))


def bits(rows: Rows, temperature: float) -> Rows:
    """Expected bits of a kept entry, w̄ of each unit: float64 [units] ([F] Eq. 14)."""
    return np.array([shares(row[LOGITS], temperature) @ _WIDTHS for row in rows])


def _chain(rows: Rows, temperature: float, gates: Rows, of_gates: Rows, of_bits: Rows) -> Rows:
    """The gradient in the scalars, from those in ΣM and in w̄ of each unit."""
    found = np.zeros((len(rows), SCALARS))
    for number, row in enumerate(rows):
        found[number, :2] = -of_gates[number] * gates[number, 1:] * slope(row) / temperature
        weights = shares(row[LOGITS], temperature)
        spread = weights * (_WIDTHS - weights @ _WIDTHS) / temperature
        found[number, LOGITS] = of_bits[number] * spread
    return found


@final
class PaperRate:
    """Σ‖M‖₁/Σn + Σ w̄/(L·max W) ([F] Eq. 14); units without changes do not count in L."""

    def __init__(self, sizes: Rows, full: NDArray[np.bool_]) -> None:
        self._entries = max(float(sizes.sum()), 1.0)
        self._full, self._units = full, max(int(full.sum()), 1)

    def price(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """The price and its gradient in the scalars, float64 [units, 7].

        Args:
            rows: scalars, [units, 7].
            temperature: ρ and ω.
            gates: sums of M and of M±·(1 − M±) over each unit's entries, [units, 3].
        """
        of_bits = self._full / (self._units * _MOST)
        total = float(gates[:, 0].sum()) / self._entries + float(bits(rows, temperature) @ of_bits)
        of_gates = np.full(len(rows), 1 / self._entries)
        return total, _chain(rows, temperature, gates, of_gates, of_bits)


def bits_of(sizes: Rows, full: NDArray[np.bool_], kept: Rows, widths: Rows) -> Rows:
    """Bits of masks at their entropy, and of values, by the number of kept entries: [units]."""
    sizes = np.maximum(sizes, 1.0)
    return np.asarray(full * (sizes * entropy(kept / sizes) + kept * widths))
