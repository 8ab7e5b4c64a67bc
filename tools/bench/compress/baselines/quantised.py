"""Task-vector quantisation (arXiv 2503.06921): every entry in a few bits, by unit.

Asymmetric uniform quantisation between a unit's least and greatest entry, with a whole zero point:
what is nearest to zero becomes zero, and the codec stores only the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.compress.baselines._dense import Dense


@final
@dataclass(frozen=True)
class Quantised(Dense):
    bits: int

    def describe(self) -> dict[str, Any]:
        return {"name": "tvq", "bits": self.bits}

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        return quantise(delta, self.bits)


def quantise(delta: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest of ``2 ** bits`` values, zero among them."""
    least, greatest = float(delta.min(initial=0)), float(delta.max(initial=0))
    step = (greatest - least) / (2**bits - 1)
    if not step:
        return np.zeros_like(delta)
    zero = round(-least / step)
    codes = np.clip(np.rint(delta / step) + zero, 0, 2**bits - 1) - zero
    return (codes * step).astype(np.float32)
