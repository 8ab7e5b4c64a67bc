"""The distinct values of a chunk, if there are few, and the code of each value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.coding.sections import TABLE_LIMIT

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
