"""What else compresses a fine-tune without data, each from its public description.

Each writes ordinary entries: what they take is what the bank stores, by the same codec.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from tvbank import TSwitch
from tvbank.checkpoint import TensorSpec
from tvbank.compress import Compressor, Entries, Pairs
from tvbank.compress.budget.target import Target


class Dense(Compressor):
    """A lossy compressor that takes a unit at a time, whole."""

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    @abstractmethod
    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        """What stands for a unit's difference, in its shape."""

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        return "float" in tuned.dtype

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: object = map
    ) -> Entries:
        flat = self.approximate(unit, difference(base, tuned)).astype(np.float32).ravel()
        flat += 0.0  # no negative zeros, which would be entries
        return lambda start, stop: flat[start:stop]


def difference(base: NDArray[Any], tuned: NDArray[Any]) -> NDArray[np.float32]:
    """``tuned - base`` in float32."""
    return tuned.astype(np.float32) - base.astype(np.float32)


@final
@dataclass(frozen=True)
class BitDelta(Dense):
    """BitDelta (arXiv 2402.10193): the sign of every entry, one scale a matrix.

    The paper starts from the scale that is best in least squares, the mean magnitude, then distils
    the scales on data; without data the start is what there is. ``rms`` gives the unit its norm
    back. It binarises the matrices of the blocks and keeps all else as it is. Here vectors stay as
    they are, and embeddings are binarised too: kept, they alone would be half of a small language
    model. Entries that did not move stay zero, which costs less than a sign.
    """

    scale: Literal["mean", "rms"] = "mean"

    def describe(self) -> dict[str, Any]:
        return {"name": "bitdelta", "scale": self.scale}

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        if delta.ndim < 2 or not delta.any():
            return delta
        magnitudes = np.abs(delta[delta != 0]).astype(np.float64)
        scale = magnitudes.mean() if self.scale == "mean" else np.sqrt(np.square(magnitudes).mean())
        return np.sign(delta) * np.float32(scale)


ALPHAS: Final = (0.5, 1, 2, 3, 4, 5, 6, 8, 10)


@final
@dataclass(frozen=True)
class ComPEFT(Dense):
    """ComPEFT (arXiv 2311.13171): the top-k of the whole task vector, as signs times alpha sigma.

    Sigma is the standard deviation of the whole task vector before it is sparsified. The paper
    tunes alpha and k on validation data: k of 5, 10, 20, 30, 50 %, alpha as in ``ALPHAS``.
    ``keep`` is k as a share; ``least`` and ``magnitude`` are found by ``plan``.
    """

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


@final
@dataclass(frozen=True)
class Quantised(Dense):
    """Task-vector quantisation (arXiv 2503.06921): every entry in a few bits, by unit."""

    bits: int

    def describe(self) -> dict[str, Any]:
        return {"name": "tvq", "bits": self.bits}

    def approximate(self, unit: str, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        return quantise(delta, self.bits)


def quantise(delta: NDArray[np.float32], bits: int) -> NDArray[np.float32]:
    """The nearest of ``2 ** bits`` values between the least and the greatest entry.

    The zero point is one of them: what is nearest becomes zero, and the codec stores the rest.
    """
    least, greatest = float(delta.min(initial=0)), float(delta.max(initial=0))
    step = (greatest - least) / (2**bits - 1)
    if not step:
        return np.zeros_like(delta)
    zero = round(-least / step)
    codes = np.clip(np.rint(delta / step) + zero, 0, 2**bits - 1) - zero
    return (codes * step).astype(np.float32)


FACTORS: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@final
@dataclass(frozen=True)
class UltraDelta(Dense):
    """UltraDelta (arXiv 2505.13563): quantised, pruned at random by group, allocated by variance.

    1. Units in the order of their variance, cut in three thirds of the entries: those of the least
       variance lose ``step`` more than the rate, the middle third the rate, the last so much less
       that the mean is the rate.
    2. Uniform quantisation between the least and the greatest entry (4 bits), then of every group
       of equal values the same share is dropped at random, so that the distribution stays.
    3. What is left is multiplied by ``factor / (1 - rate)``; the paper estimates the factor, at
       most 1, from the trace norm. Here it is chosen on training data from ``FACTORS``, which can
       only help it.

    ``rate`` is the share to drop; ``rates`` by unit are found by ``plan``.
    """

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


@final
@dataclass(frozen=True)
class FittedTSwitch(Compressor):
    """T-Switch with the one drop share, for all units, that fits a size by the bytes it writes.

    ``target`` as ``tvbank.Budget`` takes it; lands within 1 % below it.
    """

    target: str
    knob: Literal["rms", "norm"] = "norm"

    element: ClassVar[Literal["float32", "int32"]] = "float32"

    def describe(self) -> dict[str, Any]:
        return {"name": "fitted-tswitch", "target": self.target, "knob": self.knob}

    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        return TSwitch().accepts(base, tuned)

    def plan(self, pairs: Pairs) -> Compressor:
        goal = Target.parse(self.target).in_bytes(pairs.parameters, pairs.base_bytes)
        low, high = 0.0, 1.0
        for _ in range(20):
            drop = (low + high) / 2
            taken = pairs.fixed_bytes + self._bytes(pairs, TSwitch(drop, self.knob))
            if 0.99 * goal <= taken <= goal:
                break
            low, high = (drop, high) if taken > goal else (low, drop)
        return TSwitch(drop, self.knob)

    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: object = map
    ) -> Entries:
        raise RuntimeError("plan comes first")

    @staticmethod
    def _bytes(pairs: Pairs, compressor: TSwitch) -> int:
        total = 0
        for unit in pairs.units:
            entries = compressor.prepare(unit.name, *pairs.read(unit.name), pairs.each)
            total += pairs.frame_bytes(unit.name, entries)
        return total
