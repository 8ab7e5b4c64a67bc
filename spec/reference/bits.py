"""A section of a frame as a stream of bits, least significant bit of each byte first."""

from __future__ import annotations

from collections.abc import Iterable

from bitarray import bitarray
from bitarray.util import ba2int

#: Zero bits that announce a value written out in full (frame.md, "Rice symbols").
ESCAPE = 24


class EndOfSection(Exception):  # noqa: N818 - an event, not a fault: its meaning is the caller's
    """A field or symbol reaches beyond the last byte of its section."""


class Section:
    """Bits ``at`` and later are still unread; ``canonical`` is false after a needless escape."""

    def __init__(self, data: bytes) -> None:
        self.bits = bitarray(endian="little")
        self.bits.frombytes(data)
        self.at = 0
        self.canonical = True

    def field(self, width: int) -> int:
        """The next ``width`` bits as an unsigned integer."""
        if self.at + width > len(self.bits):
            raise EndOfSection
        start, self.at = self.at, self.at + width
        return ba2int(self.bits[start : self.at]) if width else 0

    def fields(self, width: int, count: int) -> list[int]:
        """``count`` fields of the same width."""
        return [self.field(width) for _ in range(count)]

    def flags(self, count: int) -> list[int]:
        """Which of the next ``count`` bits are 1, numbered from 0."""
        if self.at + count > len(self.bits):
            raise EndOfSection
        start, self.at = self.at, self.at + count
        return list(self.bits[start : self.at].search(1))

    def rice(self, k: int) -> int:
        """The next Rice symbol with parameter ``k``."""
        one = self.bits.find(1, self.at, self.at + ESCAPE)
        if one >= 0:
            quotient = one - self.at
            self.at = one + 1
            return quotient << k | self.field(k)
        self.at += ESCAPE
        value = self.field(32)
        self.canonical &= value >> k >= ESCAPE
        return value

    @property
    def bytes_read(self) -> int:
        """Bytes that hold the bits read so far."""
        return -(-self.at // 8)

    def padding_is_zero(self) -> bool:
        """Whether every bit after the ones read so far is 0."""
        return not self.bits[self.at :].any()


def bytes_for(bits: int) -> int:
    """Bytes that a section of so many bits takes."""
    return -(-bits // 8)


def strictly_ascending(numbers: Iterable[int]) -> bool:
    """Whether each number is greater than the one before it."""
    last = -1
    for number in numbers:
        if number <= last:
            return False
        last = number
    return True
