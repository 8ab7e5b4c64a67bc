"""Golomb–Rice symbols: one unsigned number below 2^32 in at most 56 bits.

With parameter k and q = v >> k: q zero bits, a 1, the k low bits of v; if q ≥ 24, the escape
instead: 24 zero bits, then v in 32 bits. A symbol, even with a sign bit before it and at any bit of
a byte, lies within one unaligned 64-bit load, and its quotient is one count of trailing zeros.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.kernel import kernel, trailing_zeros

#: Parameters whose cost is counted: 0 .. 31.
PARAMETERS: Final = 32

_ESCAPE = np.uint64(24)
_ESCAPE_BITS = np.uint64(56)
_LOW_32 = np.uint64(0xFFFFFFFF)
_ONE = np.uint64(1)
_WORD_BITS = np.uint64(64)
#: Symbols below this are counted in a histogram before their bits are.
_HISTOGRAM = 256


@kernel
def read_symbol(word: Any, k: Any) -> Any:
    """(value, bits) of the symbol at bit 0 of ``word``; 56 bits if and only if it is an escape."""
    quotient = trailing_zeros(word)
    if quotient < _ESCAPE:
        low = (word >> (quotient + _ONE)) & ((_ONE << k) - _ONE)
        return (quotient << k) | low, quotient + k + _ONE
    return (word >> _ESCAPE) & _LOW_32, _ESCAPE_BITS


@kernel
def is_non_canonical(value: Any, bits: Any, k: Any) -> Any:
    """Whether a symbol is an escape though its quotient is below 24."""
    return bits == _ESCAPE_BITS and (value >> k) < _ESCAPE


@kernel
def _symbol_code(value: Any, k: Any) -> Any:
    """(code, bits) of a value: the inverse of ``read_symbol``."""
    quotient = value >> k
    if quotient < _ESCAPE:
        low = value & ((_ONE << k) - _ONE)
        return ((low << _ONE) | _ONE) << quotient, quotient + k + _ONE
    return value << _ESCAPE, _ESCAPE_BITS


@kernel
def _encode(symbols: Any, signs: Any, k_even: Any, k_odd: Any, words: Any) -> None:
    pending = np.uint64(0)
    filled = np.uint64(0)
    index = 0
    k, k_next = np.uint64(k_even), np.uint64(k_odd)
    for place in range(symbols.size):
        code, bits = _symbol_code(np.uint64(symbols[place]), k)
        if signs.size:
            code = (code << _ONE) | np.uint64(signs[place])
            bits += _ONE
        k, k_next = k_next, k
        pending |= code << filled
        if filled + bits >= _WORD_BITS:
            words[index] = pending
            index += 1
            pending = code >> (_WORD_BITS - filled)
            filled = filled + bits - _WORD_BITS
        else:
            filled += bits
    if filled:
        words[index] = pending


@kernel
def add_symbol_bits(totals: Any, value: Any, count: Any) -> None:
    """Add to ``totals[k]``, for every k, the bits of ``count`` symbols of ``value`` (uint32)."""
    for k in range(totals.size):
        quotient = value >> np.uint32(k)
        bits = quotient + np.uint32(k + 1) if quotient < np.uint32(24) else np.uint32(56)
        totals[k] += np.int64(bits) * count


@kernel
def _stream_bits(symbols: Any, totals: Any) -> None:
    histogram = np.zeros(_HISTOGRAM, np.int64)
    for symbol in symbols:
        if symbol < np.uint32(_HISTOGRAM):
            histogram[symbol] += 1
        else:
            add_symbol_bits(totals, symbol, 1)
    for value in range(_HISTOGRAM):
        if histogram[value]:
            add_symbol_bits(totals, np.uint32(value), histogram[value])


def stream_bits(symbols: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Exact bits of a stream of symbols for every parameter at once.

    Returns:
        int64 [32]: entry k is the length of the stream with parameter k.
    """
    totals = np.zeros(PARAMETERS, np.int64)
    _stream_bits(symbols, totals)
    return totals


def encode_stream(
    symbols: NDArray[np.uint32],
    bits: int,
    k: int,
    *,
    k_odd: int | None = None,
    signs: NDArray[np.uint32] | None = None,
) -> NDArray[np.uint8]:
    """The section of a stream of symbols whose exact length is known.

    Args:
        symbols: uint32 [count].
        bits: length of the stream, as ``stream_bits`` counts it and a bit a sign.
        k: the parameter.
        k_odd: the parameter of the symbols at odd indices, if it is another.
        signs: uint32 [count] of 0 and 1: a bit that comes before each symbol, if any does.
    """
    words = np.zeros(-(-bits // 64), np.uint64)
    no_signs = np.empty(0, np.uint32)
    _encode(symbols, no_signs if signs is None else signs, k, k if k_odd is None else k_odd, words)
    return words.view(np.uint8)[: bytes_of_bits(bits)]
