"""Random numbers that are the same on every machine and in every version of Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Dice:
    """SplitMix64; no transcendental functions, so floats are exact everywhere."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def bits(self, width: int) -> int:
        self._state = (self._state + 0x9E3779B97F4A7C15) % 2**64
        mixed = self._state
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB % 2**64
        return (mixed ^ mixed >> 31) >> (64 - width)

    def random(self) -> float:
        """Uniform in [0, 1)."""
        return self.bits(53) / 2**53

    def bell(self) -> float:
        """Roughly normal: mean 0, variance 1."""
        return sum(self.random() for _ in range(12)) - 6

    def choice(self, items: Sequence[_Item]) -> _Item:
        return items[self.bits(48) % len(items)]

    def distinct(self, count: int) -> list[int]:
        """Different patterns, none of them zero."""
        found: dict[int, None] = {}
        while len(found) < count:
            found[self.bits(32) or 1] = None
        return list(found)
