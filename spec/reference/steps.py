"""Entropy-coded steps: ``magnitudes`` and ``base-magnitudes`` (values.md)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from .bits import EndOfSection, Section
from .blocks import read_bounds
from .coder import SLOTS, Coder
from .invalid import Invalid, require

MOST_SYMBOLS = 126


class Law(NamedTuple):
    """How the steps of one kind are coded.

    ``scale`` and ``origin`` say what the buckets are; ``starts`` the first slot of each symbol, and
    1024 at the end.
    """

    scale: int
    origin: int
    starts: list[int]

    def bucket(self, number: int) -> tuple[int, int]:
        """The least magnitude of a bucket, and its number of low bits."""
        if self.scale:
            return (self.origin + number) << self.scale - 1, self.scale - 1
        if number == 0:
            return 1, 0
        bits = (number + 1) // 2 - 1
        return (2 + (number + 1) % 2) << bits, bits


def decode_magnitudes(count: int, data: bytes, exponents: Sequence[int] | None = None) -> list[int]:
    """The patterns of some steps; given the exponent byte of the base's weight at each, or not.

    Raises:
        Invalid: ``frame-truncated``, ``table``, ``frame-trailing``, ``padding``, ``non-canonical``
            or ``value``.
    """
    coder, low = open_section(data)
    try:
        bounds = [0]
        if exponents is not None:
            bounds = read_bounds(coder, coder.field(4) + 1, "table")
        laws = [read_law(coder) for _ in bounds]
        steps = [
            read_step(coder, laws[bisect_right(bounds, byte) - 1], low)
            for byte in (exponents if exponents is not None else [0] * count)
        ]
    except EndOfSection:
        raise Invalid("frame-truncated", "the value section ends within a step") from None
    return close_section(coder, low, len(low.bits) // 8, steps)


def open_section(data: bytes) -> tuple[Coder, Section]:
    """The part of the entropy coder, and the low bits."""
    require(len(data) >= 4, "frame-truncated", "the size of the coder's part is cut off")
    size = int.from_bytes(data[:4], "little")
    require(size >= 16 and size % 2 == 0, "table", f"a coder's part of {size} bytes")
    require(4 + size <= len(data), "frame-truncated", "the coder's part is cut off")
    return Coder(data[4 : 4 + size]), Section(data[4 + size :])


def read_law(coder: Coder) -> Law:
    """The next law."""
    scale = coder.field(5)
    origin = coder.field(16) + (coder.field(16) << 16) if scale else 0
    count = coder.field(7)
    require(1 <= count <= MOST_SYMBOLS, "table", f"a law of {count} symbols")
    starts = [0]
    for symbol in range(count):
        length = coder.field(4)
        require(length <= 11, "table", f"symbol {symbol} has a frequency of {length} bits")
        slots = 2 ** (length - 1) + coder.field(length - 1) if length > 1 else length
        starts.append(starts[-1] + slots)
        require(starts[-1] <= SLOTS, "table", f"symbol {symbol} reaches beyond the slots")
    require(starts[-1] == SLOTS, "table", "slots are left over")
    return Law(scale, origin, starts)


def read_step(coder: Coder, law: Law, low: Section) -> int:
    """One step, which may be beyond int32."""
    number, negative = divmod(coder.symbol(law.starts), 2)
    least, bits = law.bucket(number)
    magnitude = least + low.field(bits)
    return -magnitude if negative else magnitude


def close_section(coder: Coder, low: Section, low_bytes: int, steps: list[int]) -> list[int]:
    """Check that the section is used up, and give the steps as patterns."""
    require(coder.is_read(), "frame-trailing", "words follow the last step")
    require(low.bytes_read == low_bytes, "frame-trailing", "bytes follow the last low bit")
    require(low.padding_is_zero(), "padding", "an unused bit of the value section is 1")
    coder.check_states()
    fits = all(-(2**31) <= step < 2**31 for step in steps)
    require(fits, "value", "a step is beyond int32")
    return [step % 2**32 for step in steps]
