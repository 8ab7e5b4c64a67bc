"""ComPEFT (arXiv 2311.13171): the top-k of the whole task vector, as signs times alpha sigma.

Sigma is the standard deviation of the whole task vector before it is sparsified. The paper tunes
alpha and k on validation data: k of 5, 10, 20, 30, 50 %, alpha of 0.5, 1, 2, 3, 4, 5, 6, 8, 10.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.compress.baselines._dense import Dense, difference
from tvbank.compress import Pairs

ALPHAS: Final = (0.5, 1, 2, 3, 4, 5, 6, 8, 10)


@final
@dataclass(frozen=True)
class ComPEFT(Dense):
    """``keep`` is k as a share; ``least`` and ``magnitude`` are found by ``plan``."""

    keep: float
    alpha: float
    least: float = 0.0
    magnitude: float = 0.0

    def describe(self) -> dict[str, Any]:
        return {"name": "compeft", "keep": self.keep, "alpha": float(self.alpha)}

    def plan(self, pairs: Pairs) -> ComPEFT:
        parts = [np.abs(difference(*pairs.read(unit.name))).ravel() for unit in pairs.units]
        signed = sum(float(difference(*pairs.read(unit.name)).sum()) for unit in pairs.units)
        every = np.concatenate(parts)
        place = every.size - max(1, round(self.keep * every.size))
        least = float(np.partition(every, place)[place])
        squares = float(np.square(every, dtype=np.float64).mean())
        sigma = float(np.sqrt(squares - (signed / every.size) ** 2))
        return replace(self, least=max(least, 1e-45), magnitude=self.alpha * sigma)

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.sign(delta) * (np.abs(delta) >= self.least) * np.float32(self.magnitude)
