"""What every compressor does: turn two versions of a unit into sparse entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec


class Compressor(ABC):
    """Decides what to keep of a task vector; the codec then stores that without loss."""

    #: Element type of the entries: float32 differences, or int32 steps between floats.
    element: ClassVar[Literal["float32", "int32"]]

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Name and parameters as JSON, recorded with the task."""

    @abstractmethod
    def accepts(self, base: TensorSpec, tuned: TensorSpec) -> bool:
        """Whether a unit with these element types can be stored as entries, or is kept whole."""

    @abstractmethod
    def compress(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any]
    ) -> NDArray[np.float32] | NDArray[np.int32]:
        """Compress one unit.

        Args:
            unit: its name, for messages.
            base: its weights in the base, any shape, float32, float16 or bfloat16.
            tuned: its weights after fine-tuning, the same shape, a dtype that was accepted.

        Returns:
            The entries, flat, [size], of type ``element``; zero where nothing is kept.

        Raises:
            NonFiniteError: if a lossy compressor meets NaN or infinity.
        """
