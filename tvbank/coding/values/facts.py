"""The values of a chunk's non-zeros, and the few facts about them that decide their encoding."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import TABLE_LIMIT
from tvbank.coding.kernel import kernel
from tvbank.coding.streams import stream_bits
from tvbank.coding.values.grid import Grid, find_grid
from tvbank.coding.values.laws_writer import write_base_steps, write_steps

#: Of so many steps a law costs next to nothing.
_MANY = 4096
_MAGNITUDE_BITS: Final = np.uint32(0x7FFF_FFFF)
_SLOT_BITS = 10
_SLOTS = 1 << _SLOT_BITS
#: Fibonacci hashing: 2^32 divided by the golden ratio.
_MULTIPLIER = np.uint64(0x9E37_79B9)
_SHIFT = np.uint64(32 - _SLOT_BITS)
_SLOT_MASK = np.uint64(_SLOTS - 1)


@kernel
def _slot(keys: Any, pattern: Any) -> Any:
    """The slot of a pattern, or the free one where it belongs; a free slot holds 0."""
    slot = ((np.uint64(pattern) * _MULTIPLIER) >> _SHIFT) & _SLOT_MASK
    while keys[slot] != pattern and keys[slot] != 0:
        slot = (slot + np.uint64(1)) & _SLOT_MASK
    return slot


@kernel
def _collect(patterns: Any, keys: Any, limit: Any) -> Any:
    """Enter the distinct patterns into ``keys``; False as soon as there are more than ``limit``."""
    count = 0
    for pattern in patterns:
        slot = _slot(keys, pattern)
        if keys[slot] != pattern:
            count += 1
            if count > limit:
                return False
            keys[slot] = pattern
    return True


@kernel
def _translate(patterns: Any, keys: Any, codes: Any, out: Any) -> None:
    for index in range(patterns.size):
        out[index] = codes[_slot(keys, patterns[index])]


@kernel
def _extremes(patterns: Any, is_float: bool) -> Any:
    """The least and the greatest magnitude, as patterns."""
    least, most = np.uint32(0xFFFF_FFFF), np.uint32(0)
    if is_float:
        for pattern in patterns:
            magnitude = pattern & _MAGNITUDE_BITS
            least, most = min(least, magnitude), max(most, magnitude)
    else:
        for pattern in patterns:
            magnitude = np.uint32(~pattern + np.uint32(1)) if pattern >> np.uint32(31) else pattern
            least, most = min(least, magnitude), max(most, magnitude)
    return least, most


@final
@dataclass(frozen=True, eq=False)
class Alphabet:
    """At most 256 distinct patterns, none zero.

    Attributes:
        patterns: uint32, strictly ascending.
        keys: uint32 [1024], the hash table that finds a pattern's slot.
        slots: for each of ``patterns``, its slot in ``keys``.
    """

    patterns: NDArray[np.uint32]
    keys: NDArray[np.uint32]
    slots: NDArray[np.intp]

    @staticmethod
    def of(patterns: NDArray[np.uint32]) -> Alphabet | None:
        """The alphabet of some patterns, none of them zero; None if it has more than 256."""
        keys = np.zeros(_SLOTS, np.uint32)
        if not _collect(patterns, keys, TABLE_LIMIT):
            return None
        slots = np.flatnonzero(keys)
        slots = slots[np.argsort(keys[slots])]
        return Alphabet(keys[slots], keys, slots)

    def codes(
        self, patterns: NDArray[np.uint32], code_of_rank: NDArray[np.uint32]
    ) -> NDArray[np.uint32]:
        """The code of each of ``patterns``, all of them of this alphabet.

        Args:
            patterns: uint32 [count].
            code_of_rank: the code of each of ``self.patterns``.

        Returns:
            uint32 [count].
        """
        code_of_slot = np.zeros(_SLOTS, np.uint32)
        code_of_slot[self.slots] = code_of_rank
        codes = np.empty(patterns.size, np.uint32)
        _translate(patterns, self.keys, code_of_slot, codes)
        return codes


@final
@dataclass(frozen=True, eq=False)
class Values:
    """The non-zero 32-bit patterns of a chunk in the order of their positions.

    Attributes:
        element: "float32" or "int32".
        patterns: uint32 [nonzeros], none zero.
        exponents: uint8 [nonzeros], the exponent byte of the base's weight at each, if it is at
            hand (see ``segments``).
    """

    element: str
    patterns: NDArray[np.uint32]
    exponents: NDArray[np.uint8] | None = None

    @property
    def told_by_base(self) -> bool:
        """Whether ``base-magnitudes`` is no larger than other codes of steps, but for a few bytes.

        It has the law of ``magnitudes`` wherever exponents tell nothing.
        """
        return self.exponents is not None and self.nonzeros >= _MANY

    @property
    def nonzeros(self) -> int:
        """Their number."""
        return self.patterns.size

    @property
    def extent(self) -> int:
        """Their number, too: they lie side by side."""
        return self.patterns.size

    @cached_property
    def used_bits(self) -> int:
        """The bits that are 1 in any pattern."""
        return int(np.bitwise_or.reduce(self.patterns))

    @cached_property
    def magnitude(self) -> int | None:
        """The pattern that all values share up to their sign, or None: 1 .. 2^31 − 1."""
        if not self.nonzeros:
            return None
        least, most = _extremes(self.patterns, self.element == "float32")
        return int(least) if 0 < least == most <= _MAGNITUDE_BITS else None

    @cached_property
    def alphabet(self) -> Alphabet | None:
        """The distinct patterns if there are at most 256 of them."""
        if self.magnitude is not None:  # two patterns at most: the first, and perhaps another
            first = self.patterns[:1]
            at = int(np.argmax(self.patterns != first))
            return Alphabet.of(np.concatenate([first, self.patterns[at : at + 1]]))
        return Alphabet.of(self.patterns)

    @cached_property
    def grid(self) -> Grid | None:
        """The coarsest affine grid of at most 256 values that holds all of them, if found."""
        if self.element != "float32" or self.alphabet is None or not self.nonzeros:
            return None
        return find_grid(self.alphabet.patterns)

    @cached_property
    def halves(self) -> NDArray[np.float16] | None:
        """The values as IEEE halves if none is a NaN and each is exact."""
        if self.element != "float32" or not self.nonzeros or self.used_bits & 0x1FFF:
            return None
        floats = self.patterns.view(np.float32)
        with np.errstate(all="ignore"):
            halves = floats.astype(np.float16)
        exact = np.array_equal(halves.astype(np.float32), floats)  # False for any NaN
        return halves if exact else None

    @cached_property
    def step_symbols(self) -> NDArray[np.uint32]:
        """|v| − 1 of each int32 value: the symbols of Rice coded steps, uint32 [nonzeros]."""
        # all bits of a negative value's sign word are 1, those of a positive one's 0
        signs = (self.patterns.view(np.int32) >> 31).view(np.uint32)
        return (self.patterns ^ signs) - (signs + np.uint32(1))

    @cached_property
    def step_bits(self) -> NDArray[np.int64]:
        """Bits of the Rice coded steps with their signs for every k: int64 [32]."""
        return stream_bits(self.step_symbols) + self.nonzeros

    @cached_property
    def magnitudes(self) -> NDArray[np.uint8]:
        """The section in encoding ``magnitudes``: only writing it determines its size."""
        none = np.empty(0, np.int64)
        return write_steps(self.patterns, np.zeros(self.nonzeros, np.uint8), 1, none, none)

    @cached_property
    def base_magnitudes(self) -> NDArray[np.uint8]:
        """The section in encoding ``base-magnitudes``, as of ``magnitudes``."""
        assert self.exponents is not None
        return write_base_steps(self.patterns, self.exponents)
