"""Levels of packed products, written with one number of any size: no carry to look after."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_BITS = 15


class _Writer:
    """A range coder whose low end is one integer."""

    def __init__(self) -> None:
        self.low, self.range, self.moved = 0, 2**32 - 1, 0

    def split(self, bound: int, bit: int) -> None:
        if bit:
            self.low, self.range = self.low + bound, self.range - bound
        else:
            self.range = bound
        while self.range < 2**24:
            self.low, self.range, self.moved = self.low << 8, self.range << 8, self.moved + 1

    def plain(self, bit: int) -> None:
        self.split(self.range >> 1, bit)

    def decide(self, chances: dict[object, tuple[int, int]], name: object, bit: int) -> None:
        fast, slow = chances.get(name, (2**14, 2**14))
        self.split((self.range >> 15) * ((fast + slow) >> 1), bit)
        if bit:
            chances[name] = fast - (fast >> 4), slow - (slow >> 7)
        else:
            chances[name] = fast + ((2**15 - fast) >> 4), slow + ((2**15 - slow) >> 7)

    def finish(self) -> bytes:
        """The number of the range with the most zeros at its end, without them."""
        for kept in range(32, -1, -1):
            number = -(-self.low >> kept) << kept
            if number < self.low + self.range:
                break
        return number.to_bytes(4 + self.moved, "big").rstrip(b"\0")


def packed(levels: Sequence[Sequence[int]], steps: Sequence[int], rows: int) -> bytes:
    """Packed factors without their checksum.

    Args:
        levels: of each component those of B's column, then those of A's row.
        steps: bfloat16 patterns, one a component.
        rows: of B.
    """
    writer = _Writer()
    chances: list[dict[object, tuple[int, int]]] = [{}, {}]
    before: Sequence[int] = [0] * (len(levels[0]) if levels else 0)
    for component in levels:
        for at, level in enumerate(component):
            known, size = chances[at >= rows], abs(level)
            length, kind = size.bit_length(), min(abs(before[at]), 2)
            for place in range(min(length + 1, _BITS)):
                writer.decide(known, ("more", kind, place), int(place < length))
            if not size:
                continue
            writer.plain(int(level < 0))
            digits = f"{size:b}"[1:]
            for number, digit in enumerate(digits):
                if number == 0:
                    writer.decide(known, ("first", length), int(digit))
                elif number == 1:
                    writer.decide(known, ("second", length, digits[0]), int(digit))
                else:
                    writer.plain(int(digit))
        before = component
    return struct.pack(f"<H{len(steps)}H", len(steps), *steps) + writer.finish()
