"""What was learned, applied: hard gates and one bit width a unit ([F] Eq. 8 and 15)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from tvbank.compress import Difference, Entries
from tvbank.flexswitch.gated._facts import Facts
from tvbank.flexswitch.gated._gates import (
    KAPPA,
    LOGITS,
    WIDTHS,
    Levels,
    constants,
    softplus,
)
from tvbank.flexswitch.gated._kernels import harden

_FINEST = 2 ** WIDTHS[-1]
_LARGEST = float(np.finfo(np.float32).max)
_TINIEST = float(np.finfo(np.float32).tiny)


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """What was learned of one unit.

    Attributes:
        facts: of the unit, which is not empty.
        row: its scalars, float64 [7].
        temperature: ρ at the end.
        bits: width of the codes.
    """

    facts: Facts
    row: NDArray[np.float64]
    temperature: float
    bits: int

    @staticmethod
    def of(facts: Facts, row: NDArray[np.float64], temperature: float) -> Choice:
        """The width with the largest logit; of equal ones the smallest ([F] Eq. 15)."""
        return Choice(facts, row, temperature, WIDTHS[int(np.argmax(row[LOGITS]))])

    def entries(self, delta: Difference) -> Entries:
        """The unit's entries: zero, or a value that has the sign of the difference."""
        table = constants(self.facts, self.row, self.temperature)
        first, values = self.values()
        divisor = _FINEST // 2**self.bits

        def entries(start: int, stop: int) -> NDArray[np.float32]:
            block = delta.block(start, stop).copy()
            harden(block, table, divisor, first, values)
            return block

        return entries

    def values(self) -> tuple[int, NDArray[np.float32]]:
        """The first positive code, and the value of each, float32 [2^bits].

        They lie on one grid of float32 offset and step, as the value encoding ``affine`` holds it
        (spec/values.md), but for a bin that was given to the other sign (``Levels``).
        """
        levels = Levels.of(self.facts, self.bits)
        scale = softplus(self.row[KAPPA])
        offset, step = np.float32(scale * levels.offset), np.float32(scale * levels.step)
        codes = np.arange(2**self.bits)
        values = np.float64(offset) + codes * np.float64(step)
        first = levels.first
        if first < len(values) and not values[first] > 0:
            values[first] = scale * levels.lowest
        if first > 0 and not values[first - 1] < 0:
            values[first - 1] = scale * levels.highest
        values[first:] = np.clip(values[first:], _TINIEST, _LARGEST)
        values[:first] = np.clip(values[:first], -_LARGEST, -_TINIEST)
        return first, values.astype(np.float32)
