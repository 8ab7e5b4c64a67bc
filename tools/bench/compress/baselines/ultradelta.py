"""UltraDelta (arXiv 2505.13563): quantised, pruned at random by group, allocated by variance.

1. Units in the order of their variance, cut in three thirds of the entries: those of the least
   variance lose ``step`` more than the rate, the middle third the rate, the last so much less that
   the mean is the rate.
2. Uniform quantisation between the least and the greatest entry (4 bits), then of every group of
   equal values the same share is dropped at random, so that the distribution stays.
3. What is left is multiplied by ``factor / (1 - rate)``; the paper estimates the factor, at most 1,
   from the trace norm. Here it is chosen on training data from ``FACTORS``, which can only help it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.compress.baselines._dense import Dense, difference
from tools.bench.compress.baselines.quantised import quantise
from tvbank.compress import Pairs

FACTORS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@final
@dataclass(frozen=True)
class UltraDelta(Dense):
    """``rate`` is the share to drop; ``rates`` by unit are found by ``plan``."""

    rate: float
    factor: float = 1.0
    bits: int = 4
    step: float = 0.01
    seed: int = 0
    rates: dict[str, float] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "name": "ultradelta", "rate": self.rate, "factor": self.factor, "bits": self.bits,
            "step": self.step, "seed": self.seed,
        }  # fmt: skip

    def plan(self, pairs: Pairs) -> UltraDelta:
        deviations = {}
        for unit in pairs.units:
            delta = difference(*pairs.read(unit.name))
            deviations[unit.name] = (float(delta.std()), delta.size)
        order = sorted(deviations, key=lambda name: deviations[name][0])
        whole = sum(size for _, size in deviations.values())
        thirds: list[list[str]] = [[], [], []]
        done = 0
        for name in order:
            done += deviations[name][1]
            thirds[0 if 3 * done <= whole else 1 if 3 * done <= 2 * whole else 2].append(name)
        sizes = [sum(deviations[name][1] for name in third) for third in thirds]
        low = min(self.rate + self.step, 0.999)
        high = (self.rate * (whole - sizes[1]) - low * sizes[0]) / max(sizes[2], 1)
        rates = (low, self.rate, min(max(high, 0.0), 0.99))
        chosen = {name: rate for third, rate in zip(thirds, rates, strict=True) for name in third}
        return replace(self, rates=chosen)

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        codes = quantise(delta, self.bits).ravel()
        rng = np.random.default_rng([self.seed, *unit.encode()])
        zeros = float((codes == 0).mean()) if codes.size else 1.0
        drop = max(0.0, (self.rates[unit] - zeros) / (1 - zeros)) if zeros < 1 else 0.0
        for value in np.unique(codes[codes != 0]):
            places = np.flatnonzero(codes == value)
            codes[rng.permutation(places)[: round(len(places) * drop)]] = 0
        scale = np.float32(self.factor / (1 - self.rate))
        return (codes * scale).reshape(delta.shape)
