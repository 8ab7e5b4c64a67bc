"""T-Switch with the one drop share, for all units, that fits a size by the bytes really written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

from numpy.typing import NDArray

from tvbank import Compressor, TSwitch
from tvbank.checkpoint import TensorSpec
from tvbank.compress import Entries, Pairs
from tvbank.compress.budget.target import Target


@final
@dataclass(frozen=True)
class FittedTSwitch(Compressor):
    """``target`` as ``tvbank.Budget`` takes it; lands within 1 % below it."""

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
