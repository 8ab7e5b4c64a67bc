"""What the objective charges for a compressed task, and how that changes with the scalars.

``paper``: the share of open gates plus the mean bit width ([F] Eq. 14), whatever their bytes.
``bytes``: the bytes that the bank would store. A mask of n entries of which a share d is kept takes
about n·H(d) bits, times a factor for each unit that the exact encoder has measured (real masks are
not random), and each kept entry takes its bits. Both are about 1 where everything is kept in 8
bits, so that λ means much the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.flexswitch._gates import LOGITS, SCALARS, WIDTHS, shares, slope

_WIDTHS = np.array(WIDTHS, np.float64)
_MOST = max(WIDTHS)
#: Bytes of a chunk beside its mask and codes: header, checksum, the parameters of its values.
CHUNK_BYTES: Final = 24 + 4 + 8

Rows = NDArray[np.float64]


def entropy(density: Rows) -> Rows:
    """H(d) in bits; 1 from d = ½ on, as if all masks were at most that wasteful."""
    d = np.clip(density, 1e-12, 0.5)
    return np.asarray(-d * np.log2(d) - (1 - d) * np.log2(1 - d))


def bits(rows: Rows, temperature: float) -> Rows:
    """Expected bits of a kept entry, w̄ of each unit: float64 [units] ([F] Eq. 14)."""
    return np.array([shares(row[LOGITS], temperature) @ _WIDTHS for row in rows])


class Rate(ABC):
    """A price of the whole task and its gradient."""

    @abstractmethod
    def price(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """The price and its gradient in the scalars, float64 [units, 7].

        Args:
            rows: scalars, [units, 7].
            temperature: ρ and ω.
            gates: sums of M and of M±·(1 − M±) over each unit's entries, [units, 3].
        """


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
class PaperRate(Rate):
    """Σ‖M‖₁/Σn + Σ w̄/(L·max W) ([F] Eq. 14); units without changes do not count in L."""

    def __init__(self, sizes: Rows, full: NDArray[np.bool_]) -> None:
        self._entries = max(float(sizes.sum()), 1.0)
        self._full, self._units = full, max(int(full.sum()), 1)

    def price(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """See ``Rate.price``."""
        of_bits = self._full / (self._units * _MOST)
        total = float(gates[:, 0].sum()) / self._entries + float(bits(rows, temperature) @ of_bits)
        of_gates = np.full(len(rows), 1 / self._entries)
        return total, _chain(rows, temperature, gates, of_gates, of_bits)


@final
class ByteRate(Rate):
    """Bytes in the bank, as a share of what 8 bits for every entry would take.

    Attributes:
        factors: of each unit, measured bytes of its mask over those of a random one, [units].
    """

    def __init__(self, sizes: Rows, full: NDArray[np.bool_]) -> None:
        self._sizes, self._full = np.maximum(sizes, 1.0), full
        self._entries = max(float(sizes.sum()), 1.0)
        self.factors = np.ones(len(sizes))

    def price(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """See ``Rate.price``."""
        most = _MOST * self._entries
        density = np.clip(gates[:, 0] / self._sizes, 1e-9, 1.0)
        widths = bits(rows, temperature)
        total = self.bits_of(density * self._sizes, widths).sum() / most
        marginal = np.maximum(np.log2((1 - np.minimum(density, 0.5)) / density), 0.0)
        of_gates = self._full * (self.factors * marginal + widths) / most
        of_bits = self._full * density * self._sizes / most
        return float(total), _chain(rows, temperature, gates, of_gates, of_bits)

    def bits_of(self, kept: Rows, widths: Rows) -> Rows:
        """Expected bits of masks and values, by the number of kept entries: [units]."""
        masks = self.factors * self._sizes * entropy(kept / self._sizes)
        return np.asarray(self._full * (masks + kept * widths))

    def calibrate(self, kept: Rows, widths: Rows, frames: Rows, chunks: Rows) -> None:
        """Learn from exact sizes how much smaller real masks are.

        Args:
            kept: entries of each unit.
            widths: bits of a kept entry.
            frames: bytes of the frames of each unit.
            chunks: number of its frames.
        """
        masks = 8 * (frames - CHUNK_BYTES * chunks) - kept * widths
        expected = self._sizes * entropy(kept / self._sizes)
        known = (kept > 16) & (expected > 256)
        ratio = masks / np.maximum(expected, 1.0)
        self.factors = np.where(known, np.clip(ratio, 0.1, 1.5), self.factors)


@final
class BlendedRate(Rate):
    """The paper's price while gates are soft, that of bytes once they are hard.

    The sum of soft gates is far from the number of entries that will be kept, so at first its
    entropy means nothing: it would charge least where most is to be closed. The paper's price has
    the share ρ.
    """

    def __init__(self, paper: PaperRate, exact: ByteRate) -> None:
        self._paper, self._exact = paper, exact

    def price(self, rows: Rows, temperature: float, gates: Rows) -> tuple[float, Rows]:
        """See ``Rate.price``."""
        soft, of_soft = self._paper.price(rows, temperature, gates)
        hard, of_hard = self._exact.price(rows, temperature, gates)
        share = temperature
        return share * soft + (1 - share) * hard, share * of_soft + (1 - share) * of_hard
