"""A look at a few cache lines of many tensors: enough to notice that somebody trained them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import load_8, load_64, prefetch
from tvbank.coding.kernel import kernel

_U = np.uint64
#: Lines that are looked at in each tensor; smaller tensors are looked at whole.
LINES: Final = 8
#: Tensors whose lines are asked for before they are read: most are in no cache.
_AHEAD: Final = 4
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
    for row in range(-_AHEAD, len(spans)):
        after = row + _AHEAD
        if after < len(spans):
            address, lines = _U(spans[after, 0]), _lines(spans[after, 1])
            for line in range(min(_U(LINES), lines)):
                prefetch(address + (_place(seed, after, line, lines) << _SHIFT))
        if row >= 0:
            address, size = _U(spans[row, 0]), _U(spans[row, 1])
            lines = _lines(spans[row, 1])
            digest = seed
            for line in range(min(_U(LINES), lines)):
                place = _place(seed, row, line, lines)
                digest = (digest ^ _digest_line(address, size, place)) * _STEP
                digest ^= digest >> _HALF
            digests[row] = digest


@kernel
def _lines(size: Any) -> Any:
    return (_U(size) + _LINE - _ONE) >> _SHIFT


@kernel
def _place(seed: Any, row: Any, line: Any, lines: Any) -> Any:
    """Which line of a tensor is looked at as number ``line``."""
    if lines <= _U(LINES):
        return _U(line)
    state = seed + _STEP * (_U(row) * _U(LINES) + _U(line) + _ONE)
    mixed = (state ^ (state >> _HALF)) * _MIX
    return (((mixed ^ (mixed >> _HALF)) >> _HALF) * lines) >> _HALF


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
