"""The values of a chunk's non-zeros, and the few facts about them that decide their encoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.faults import fault
from tvbank.coding.rice import stream_bits
from tvbank.coding.values._alphabet import Alphabet
from tvbank.coding.values._grid import Grid, find_grid

SIGN_BIT: Final = np.uint32(0x8000_0000)
MAGNITUDE_BITS: Final = np.uint32(0x7FFF_FFFF)


@final
@dataclass(frozen=True, eq=False)
class Values:
    """The non-zero 32-bit patterns of a chunk in the order of their positions.

    Attributes:
        element: "float32" or "int32".
        patterns: uint32 [nonzeros], none zero.
    """

    element: str
    patterns: NDArray[np.uint32]

    @property
    def count(self) -> int:
        """Number of non-zeros."""
        return self.patterns.size

    @cached_property
    def used_bits(self) -> int:
        """The bits that are 1 in any pattern."""
        return int(np.bitwise_or.reduce(self.patterns))

    @cached_property
    def magnitude(self) -> int | None:
        """The pattern that all values share up to their sign, or None: 1 .. 2^31 − 1."""
        if not self.count:
            return None
        if self.element == "float32":
            magnitudes = self.patterns & MAGNITUDE_BITS
        else:
            magnitudes = np.abs(self.patterns.view(np.int32)).view(np.uint32)
        least = int(magnitudes.min())
        return least if 0 < least == magnitudes.max() <= MAGNITUDE_BITS else None

    @cached_property
    def alphabet(self) -> Alphabet | None:
        """The distinct patterns if there are at most 256 of them."""
        return Alphabet.of(self.patterns)

    @cached_property
    def grid(self) -> Grid | None:
        """The coarsest affine grid of at most 256 values that holds all of them, if found."""
        if self.element != "float32" or self.alphabet is None or not self.count:
            return None
        return find_grid(self.alphabet.patterns)

    @cached_property
    def halves(self) -> NDArray[np.float16] | None:
        """The values as IEEE halves if none is a NaN and each is exact."""
        if self.element != "float32" or not self.count or self.used_bits & 0x1FFF:
            return None
        floats = self.patterns.view(np.float32)
        with np.errstate(all="ignore"):
            halves = floats.astype(np.float16)
        exact = np.array_equal(halves.astype(np.float32), floats)  # False for any NaN
        return halves if exact else None

    @cached_property
    def step_symbols(self) -> NDArray[np.uint32]:
        """|v| − 1 of each int32 value: the symbols of Rice coded steps, uint32 [nonzeros]."""
        signs = (self.patterns.view(np.int32) >> 31).view(np.uint32)  # all bits of a word, or none
        return (self.patterns ^ signs) - (signs + np.uint32(1))

    @cached_property
    def step_bits(self) -> NDArray[np.int64]:
        """Bits of the Rice coded steps with their signs for every k: int64 [32]."""
        return stream_bits(self.step_symbols) + self.count


def check_nonzero(patterns: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the patterns if none is zero.

    Raises:
        FrameError: ``zero-value``.
    """
    if not patterns.all():
        raise fault("zero-value", "a value of zero among the non-zeros")
    return patterns
