"""What exact tasks are made of, in one pass over floats: steps between them, exponent bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.given import list_exponents
from tvbank.coding.decoding.memory import int16_pointer, int32_pointer
from tvbank.coding.decoding.table import address_of
from tvbank.coding.kernel import carray, kernel

_SIGN_16, _REST_16 = np.int32(15), np.int32(0x7FFF)
_SIGN_32, _REST_32 = np.int32(31), np.int32(0x7FFF_FFFF)


@kernel
def _steps_16(start: Any, end: Any, out: Any) -> None:
    """Steps between floats of 16 bits, modulo 2^16, by their addresses, to int32 [n]."""
    before, after = carray(int16_pointer(start), out.size), carray(int16_pointer(end), out.size)
    for index in range(out.size):
        old, new = np.int32(before[index]), np.int32(after[index])
        old = old ^ ((old >> _SIGN_16) & _REST_16)
        new = new ^ ((new >> _SIGN_16) & _REST_16)
        out[index] = np.int32(np.int16(new - old))


@kernel
def _steps_32(start: Any, end: Any, out: Any) -> None:
    """Steps between floats of 32 bits, modulo 2^32, by their addresses, to int32 [n]."""
    before, after = carray(int32_pointer(start), out.size), carray(int32_pointer(end), out.size)
    for index in range(out.size):
        old, new = before[index], after[index]
        old = old ^ ((old >> _SIGN_32) & _REST_32)
        new = new ^ ((new >> _SIGN_32) & _REST_32)
        out[index] = np.int32(new - old)


def steps_between(start: NDArray[Any], end: NDArray[Any]) -> NDArray[np.int32]:
    """Steps, [n] int32, from some floats of 16 or 32 bits, [n] in order, to others of their type.

    A step leads to the neighbouring float; they are counted modulo 2**bits.
    """
    before, after = np.ascontiguousarray(start), np.ascontiguousarray(end)
    steps = np.empty(before.size, np.int32)
    fill = _steps_16 if before.dtype.itemsize == 2 else _steps_32
    fill(address_of(before), address_of(after), steps)
    return steps


def exponent_bytes(base: NDArray[Any]) -> NDArray[np.uint8]:
    """The exponent byte of each weight, uint8 [n], of float32, float16 or bfloat16 [n]."""
    weights = np.ascontiguousarray(base)
    found = np.empty(weights.size, np.uint8)
    width = weights.dtype.itemsize
    upper = address_of(weights) + np.uint64(width - 2)
    list_exponents(upper, np.uint64(width // 2), weights.size, found)
    return found


def take_steps_at(
    weights: NDArray[Any], positions: NDArray[np.uint32], steps: NDArray[np.int32]
) -> None:
    """Move floats of 16 or 32 bits by steps to their neighbours, in place.

    Args:
        weights: [n], contiguous.
        positions: uint32 [k], below n.
        steps: int32 [k].
    """
    width = 8 * weights.dtype.itemsize
    bits = weights.view(f"<i{weights.dtype.itemsize}")
    _take_steps(bits, positions, steps, width - 1, 2 ** (width - 1) - 1)


@kernel
def _take_steps(bits: Any, positions: Any, steps: Any, sign: int, largest: int) -> None:
    """``ordered(new) = ordered(old) + step`` modulo 2**width; see tvbank/compress/exact.py."""
    for index in range(positions.size):
        place = positions[index]
        old = np.int64(bits[place])
        moved = (old ^ ((old >> sign) & largest)) + steps[index]
        new = (moved & largest) - (moved & (largest + 1))
        bits[place] = new ^ ((new >> sign) & largest)
