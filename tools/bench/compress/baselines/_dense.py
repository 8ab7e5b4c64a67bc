"""What the baselines share: a unit's difference in, what stands for it out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress import Compressor, Entries


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
