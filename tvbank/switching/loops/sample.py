"""A look at a few cache lines of many tensors: enough to notice that somebody trained them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import load_8, load_64
from tvbank.coding.kernel import kernel

_U = np.uint64
#: Lines that are looked at in each tensor; smaller tensors are looked at whole.
LINES: Final = 8
#: Bytes of a line, and its logarithm.
_LINE, _SHIFT = _U(64), _U(6)
_ZERO, _ONE, _THREE, _SEVEN, _EIGHT, _HALF = _U(0), _U(1), _U(3), _U(7), _U(8), _U(32)
#: Odd numbers, of splitmix64.
_STEP, _MIX = _U(0x9E3779B97F4A7C15), _U(0xBF58476D1CE4E5B9)


@kernel
def digest_lines(spans: Any, seed: Any, digests: Any) -> None:
    """Digest some lines of 64 bytes of each of many tensors.

    A change of one word of a line always changes the digest; changes of several may cancel out,
    once in 2⁶⁴.

    Args:
        spans: int64 [tensors, 2]: the address of each, and its bytes, all of which are read at
            most.
        seed: uint64: the same one takes the same lines.
        digests: uint64 [tensors], overwritten.
    """
    state = seed
    for row in range(len(spans)):
        address, size = _U(spans[row, 0]), _U(spans[row, 1])
        lines = (size + _LINE - _ONE) >> _SHIFT
        digest = seed
        for line in range(min(_U(LINES), lines)):
            number = _U(line)
            if lines > _U(LINES):
                state += _STEP
                mixed = (state ^ (state >> _HALF)) * _MIX
                number = (((mixed ^ (mixed >> _HALF)) >> _HALF) * lines) >> _HALF
            digest = (digest ^ _digest_line(address, size, number)) * _STEP
            digest ^= digest >> _HALF
        digests[row] = digest


@kernel
def _digest_line(address: Any, size: Any, number: Any) -> Any:
    first = number << _SHIFT
    count = min(_LINE, size - first)
    at, digest, odd = address + first, number, _MIX
    for word in range(count >> _THREE):  # with odd factors, so that each word counts
        digest += load_64(at + (_U(word) << _THREE)) * odd
        odd += _STEP ^ _ONE
    for byte in range(count & ~_SEVEN, count):
        digest = (digest ^ _U(load_8(at + _U(byte)))) * _MIX
    return digest ^ (digest >> _HALF)
