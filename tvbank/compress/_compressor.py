"""What every compressor does: turn two versions of a unit into sparse entries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from numpy.typing import NDArray

from tvbank.checkpoint import TensorSpec
from tvbank.compress._each import Each

if TYPE_CHECKING:
    from tvbank.compress._pairs import Pairs

#: Makes the entries from one position to another of a flattened unit.
Entries = Callable[[int, int], NDArray[Any]]


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

    def plan(self, pairs: Pairs) -> Compressor:
        """Look at the whole task vector; called once, before any unit is prepared.

        Args:
            pairs: the task vector.

        Returns:
            What then prepares the units and describes the task: by default the compressor itself.
        """
        return self

    @abstractmethod
    def prepare(
        self, unit: str, base: NDArray[Any], tuned: NDArray[Any], each: Each = map
    ) -> Entries:
        """Survey one unit; then make its entries in pieces, in any order and on any thread.

        Args:
            unit: its name, for messages.
            base: its weights in the base, any shape, float32, float16 or bfloat16.
            tuned: its weights after fine-tuning, the same shape, a dtype that was accepted.
            each: spreads the work; what is returned does not depend on it.

        Returns:
            A function from start and stop, 0 <= start <= stop <= size, to those entries of the
            flattened unit, of type ``element``; zero where nothing is kept.

        Raises:
            NonFiniteError: if a lossy compressor meets NaN or infinity.
        """

    @final
    def compress(self, unit: str, base: NDArray[Any], tuned: NDArray[Any]) -> NDArray[Any]:
        """All entries of one unit, flat, [size]; see ``prepare``."""
        return self.prepare(unit, base, tuned)(0, base.size)
