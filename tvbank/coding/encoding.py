"""What every mask encoding and every value encoding is: a way to write one section of a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.header import FrameHeader

Facts = TypeVar("Facts")


class Encoding(ABC, Generic[Facts]):
    """One encoding; its facts are a ``Mask`` or the ``Values`` of a chunk.

    Attributes:
        id: the number in the frame's header; the lower one wins at equal bytes.
        name: the spec's name.
        least_bytes: no section is shorter; tells where an encoding need not be tried.
    """

    id: ClassVar[int]
    name: ClassVar[str]
    least_bytes: ClassVar[int] = 0

    @abstractmethod
    def parameters(self, facts: Facts) -> Sequence[int]:
        """Every parameter, ascending, that can hold the chunk; none if the encoding cannot."""

    @abstractmethod
    def section_bytes(self, facts: Facts, parameter: int) -> int:
        """Exact length in bytes of the section with one of ``parameters``."""

    def best_parameter(self, facts: Facts) -> int | None:
        """The lowest of the parameters that make the section smallest; None if there is none."""
        return min(
            self.parameters(facts), key=lambda each: self.section_bytes(facts, each), default=None
        )

    @abstractmethod
    def encode(self, facts: Facts, parameter: int) -> NDArray[np.uint8]:
        """The section with one of ``parameters``."""

    @abstractmethod
    def decode(self, section: memoryview, header: FrameHeader) -> NDArray[np.uint32]:
        """What a section holds: the positions of the non-zeros, or their 32-bit patterns.

        Args:
            section: the section's bytes. Where the header tells their number, the caller has
                checked it.
            header: as ``read_header`` returns it.

        Returns:
            uint32 [header.nonzeros]. Positions are strictly ascending and end at
            ``header.extent`` − 1; no pattern is zero.

        Raises:
            FrameError: if the section violates the spec.
        """
