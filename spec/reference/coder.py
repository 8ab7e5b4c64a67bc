"""The entropy coder of ``blocks`` and of steps (masks.md, "The entropy coder")."""

from __future__ import annotations

import struct
from bisect import bisect_right

from .bits import EndOfSection
from .invalid import require

SLOTS = 1024
FIRST_STATE = 2**16


class Coder:
    """Four states that take turns, and the words that are still unread.

    ``fits`` becomes false where a count exceeds what is counted, to be judged at the end.
    """

    def __init__(self, data: bytes) -> None:
        require(len(data) >= 16 and len(data) % 2 == 0, "mask-section", "no states, or half a word")
        self.states: list[int] = list(struct.unpack_from("<4I", data))
        self.fits = True
        self.words = iter(struct.unpack(f"<{len(data) // 2 - 8}H", data[16:]))

    def field(self, bits: int) -> int:
        """A plain field of 0 to 16 bits."""
        state = self.states.pop(0)
        self._refill(state >> bits)
        return state % (1 << bits)

    def symbol(self, starts: list[int]) -> int:
        """A symbol, given the first slot of each and 1024 at the end."""
        state = self.states.pop(0)
        slot = state % SLOTS
        symbol = bisect_right(starts, slot) - 1
        frequency = starts[symbol + 1] - starts[symbol]
        self._refill(frequency * (state // SLOTS) + slot - starts[symbol])
        return symbol

    def _refill(self, state: int) -> None:
        if state < 2**16:
            word = next(self.words, None)
            if word is None:
                raise EndOfSection
            state = state * 2**16 + int(word)
        self.states.append(state)

    def finish(self) -> None:
        """Check that nothing is left over of a mask section."""
        require(self.is_read(), "mask-section", "words follow the last symbol")
        self.check_states()

    def is_read(self) -> bool:
        """Whether no word is left."""
        return next(self.words, None) is None

    def check_states(self) -> None:
        """Check that the states are what they are before the first symbol is encoded."""
        require(
            self.states == [FIRST_STATE] * 4, "non-canonical", f"the states end at {self.states}"
        )
