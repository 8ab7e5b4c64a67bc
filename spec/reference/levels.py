"""The levels of packed products: a binary range coder whose chances adapt (products.md)."""

from __future__ import annotations

LEVEL_BITS = 15


class Chance:
    """How likely a decision is 0, of 2^15."""

    def __init__(self) -> None:
        self.fast = self.slow = 1 << 14

    def learn(self, bit: int) -> None:
        """After a decision."""
        if bit:
            self.fast -= self.fast >> 4
            self.slow -= self.slow >> 7
        else:
            self.fast += (32768 - self.fast) >> 4
            self.slow += (32768 - self.slow) >> 7


class RangeDecoder:
    """Decisions and plain bits; bytes beyond the end are 0."""

    def __init__(self, data: bytes) -> None:
        self.data, self.used = data, 0
        self.range, self.code = 2**32 - 1, 0
        for _ in range(4):
            self._shift()

    def _shift(self) -> None:
        byte = self.data[self.used] if self.used < len(self.data) else 0
        self.code = (self.code * 256 + byte) % 2**32
        self.used += 1

    def plain(self) -> int:
        """A bit of even chance."""
        return self._split(self.range // 2)

    def decide(self, chance: Chance) -> int:
        """A bit of a chance, which learns from it."""
        bit = self._split((self.range >> 15) * ((chance.fast + chance.slow) // 2))
        chance.learn(bit)
        return bit

    def _split(self, bound: int) -> int:
        bit = int(self.code >= bound)
        if bit:
            self.code -= bound
            self.range -= bound
        else:
            self.range = bound
        while self.range < 2**24:
            self.range *= 256
            self._shift()
        return bit


class Factor:
    """The chances of one factor's levels."""

    def __init__(self) -> None:
        self.more = [[Chance() for _ in range(LEVEL_BITS)] for _ in range(3)]
        self.first = [Chance() for _ in range(LEVEL_BITS + 1)]
        self.second = [[Chance(), Chance()] for _ in range(LEVEL_BITS + 1)]

    def level(self, coder: RangeDecoder, neighbour: int) -> int:
        """The next level, beside that of the component before."""
        more = self.more[min(abs(neighbour), 2)]
        length = 0
        while length < LEVEL_BITS and coder.decide(more[length]):
            length += 1
        if length == 0:
            return 0
        negative, size = coder.plain(), 1
        for number in range(length - 1):
            if number == 0:
                bit = coder.decide(self.first[length])
            elif number == 1:
                bit = coder.decide(self.second[length][size & 1])
            else:
                bit = coder.plain()
            size = 2 * size + bit
        return -size if negative else size


def read_levels(data: bytes, rows: int, columns: int, components: int) -> list[list[int]] | None:
    """Of each component the levels of B's column, then of A's row; None if bytes are left."""
    coder = RangeDecoder(data)
    b, a = Factor(), Factor()
    before, found = [0] * (rows + columns), []
    for _ in range(components):
        before = [
            (b if at < rows else a).level(coder, neighbour) for at, neighbour in enumerate(before)
        ]
        found.append(before)
    return found if coder.used >= len(data) else None
