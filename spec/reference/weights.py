"""From a base's weights and a task's entries to the tuned weights (container.md, "Weights").

Weights are raw little-endian bytes, entries are positions and 32-bit patterns.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

from .values import float32_pattern

#: Element type of a unit -> the struct code of its bit pattern.
_PATTERN_CODES = {"float32": "I", "float16": "H", "bfloat16": "H"}


def tuned_weights(
    dtype: str, base: bytes, element: str, entries: Iterable[tuple[int, int]]
) -> bytes:
    """Apply a task's entries of one unit; weights without an entry keep their bits.

    Args:
        dtype: the base's element type.
        base: its weights.
        element: ``int32`` for an exact task, ``float32`` for a lossy one.
        entries: pairs of position within the unit and pattern.
    """
    code = _PATTERN_CODES[dtype]
    size = struct.calcsize(code)
    weights = list(struct.unpack(f"<{len(base) // size}{code}", base))
    for position, pattern in entries:
        old = weights[position]
        if element == "int32":
            weights[position] = step(old, pattern, 8 * size)
        else:
            total = number_of(old, dtype) + number_of(pattern, "float32")
            weights[position] = pattern_of(total, dtype)
    return struct.pack(f"<{len(weights)}{code}", *weights)


def exponent_bytes(dtype: str, base: bytes) -> list[int]:
    """Of each weight bits 7 to 14 of the upper 16 bits of its pattern (masks.md)."""
    size = struct.calcsize(_PATTERN_CODES[dtype])
    uppers = struct.unpack(f"<{len(base) // 2}H", base)[size // 2 - 1 :: size // 2]
    return [upper >> 7 & 0xFF for upper in uppers]


def step(pattern: int, steps: int, bits: int) -> int:
    """The pattern that lies some steps above another in the order of the floats."""
    return _flip((_flip(pattern, bits) + steps) % 2**bits, bits)


def _flip(pattern: int, bits: int) -> int:
    """``ordered`` of a pattern modulo 2**bits, and its inverse: negatives flip all but the sign."""
    sign = 1 << (bits - 1)
    return pattern ^ (sign - 1) if pattern & sign else pattern


def number_of(pattern: int, dtype: str) -> float:
    """The number that a pattern stands for."""
    if dtype == "float16":
        return float(struct.unpack("<e", struct.pack("<H", pattern))[0])
    bits = pattern << 16 if dtype == "bfloat16" else pattern
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


def pattern_of(total: float, dtype: str) -> int:
    """The sum rounded to float32, then to the element type, ties to even both times."""
    single = float32_pattern(total)
    if dtype == "float32":
        return single
    if dtype == "bfloat16":
        if math.isnan(total):
            return single >> 16 | 0x40
        return (single + 0x7FFF + (single >> 16 & 1)) >> 16
    rounded = number_of(single, "float32")
    try:
        half = struct.pack("<e", rounded)
    except OverflowError:
        half = struct.pack("<e", math.copysign(math.inf, rounded))
    return int.from_bytes(half, "little")
