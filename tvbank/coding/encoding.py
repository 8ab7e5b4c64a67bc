"""What every mask encoding and every value encoding is: a row of the spec's table, and a writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

#: Rice parameters go up to here in masks, whose symbols are below 2^24, and in values.
MASK_RICE_LIMIT: Final = 24
VALUE_RICE_LIMIT: Final = 31
#: Entries of a row in ``blocks``.
LEAST_WIDTH: Final = 16
GREATEST_WIDTH: Final = 65535
#: Patterns of a table, and bits of a code on a grid.
TABLE_LIMIT: Final = 256
AFFINE_LIMIT: Final = 8


class Counted(Protocol):
    """The least that facts about a chunk tell: how far it extends and how many non-zeros it has."""

    @property
    def extent(self) -> int:
        """Position of the last non-zero + 1; 0 if there is none."""

    @property
    def nonzeros(self) -> int:
        """Number of non-zeros."""

    @property
    def told_by_base(self) -> bool:
        """Whether an encoding that is given the base surely is about the smallest."""


Facts = TypeVar("Facts", bound=Counted)


class Parameters(NamedTuple):
    """The parameters that a header may hold beside an encoding.

    Attributes:
        least: the least.
        most: the greatest.
        low_byte: the greatest p mod 256.
        is_width: 1 if p must be the bits of extent − 1, else 0.
    """

    least: int = 0
    most: int = 0
    low_byte: int = 255
    is_width: int = 0


class Encoding(ABC, Generic[Facts]):
    """One encoding; its facts are a ``Mask`` or the ``Values`` of a chunk.

    Attributes:
        id: the number in the frame's header; the lower one wins at equal bytes.
        name: the spec's name.
        version: of the frame that first had it.
        given_base: whether the base's weights are needed to decode it.
        allowed: its parameters.
        elements: the element types that it is for.
        least_bytes: no section is shorter: where another takes less, this one is not tried.
        costly: whether its size is known only after work in the non-zeros: not tried where
            ``Counted.told_by_base``.
    """

    id: ClassVar[int]
    name: ClassVar[str]
    version: ClassVar[int] = 1
    given_base: ClassVar[bool] = False
    allowed: ClassVar[Parameters] = Parameters()
    elements: ClassVar[tuple[str, ...]] = ("float32", "int32")
    least_bytes: ClassVar[int] = 0
    costly: ClassVar[bool] = False

    @staticmethod
    def section_bits(parameter: int, extent: int, nonzeros: int) -> int | None:
        """Bits of a section, or None where they depend on its symbols."""
        return 0

    @classmethod
    def least_bits(cls, parameter: int, extent: int, nonzeros: int) -> int:
        """Bits that a section has at least: no memory is taken for the entries of a shorter one."""
        return cls.section_bits(parameter, extent, nonzeros) or 0

    @abstractmethod
    def parameters(self, facts: Facts) -> Sequence[int]:
        """Every parameter, ascending, that can hold the chunk; none if the encoding cannot."""

    def section_bytes(self, facts: Facts, parameter: int) -> int:
        """Exact length in bytes of the section with one of ``parameters``."""
        bits = self.section_bits(parameter, facts.extent, facts.nonzeros)
        assert bits is not None  # an encoding of symbols counts them
        return bytes_of_bits(bits)

    def best_parameter(self, facts: Facts) -> int | None:
        """The lowest of the parameters that make the section smallest; None if there is none."""
        return min(
            self.parameters(facts), key=lambda each: self.section_bytes(facts, each), default=None
        )

    @abstractmethod
    def encode(self, facts: Facts, parameter: int) -> NDArray[np.uint8]:
        """The section with one of ``parameters``."""


def bytes_of_bits(bits: int) -> int:
    """Bytes that hold ``bits`` bits: the section length of a bit stream."""
    return (bits + 7) // 8


def code_bits(count: int) -> int:
    """Bits of a code that distinguishes ``count`` things: 0 for one thing."""
    return (count - 1).bit_length()


def fewest_bytes(bits: NDArray[np.int64], limit: int) -> int:
    """The lowest parameter, at most ``limit``, of the fewest bytes, given the bits for each."""
    return int(np.argmin((bits[: limit + 1] + 7) // 8))
