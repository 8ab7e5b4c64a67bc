"""Bit streams as they are written: Golomb–Rice symbols, and fields of a fixed width.

A symbol is one unsigned number below 2^32 in at most 56 bits. With parameter k and q = v >> k: q
zero bits, a 1, the k low bits of v; if q ≥ 24, the escape instead: 24 zero bits, then v in 32 bits.
A symbol, even with a sign bit before it and at any bit of a byte, lies within one unaligned 64-bit
load, and its quotient is one count of trailing zeros.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.kernel import kernel

#: Parameters whose cost is counted: 0 .. 31.
PARAMETERS: Final = 32

_ESCAPE = np.uint64(24)
_ESCAPE_BITS = np.uint64(56)
_ONE = np.uint64(1)
_WORD_BITS = np.uint64(64)
#: Symbols below this are counted in a histogram before their bits are.
_HISTOGRAM = 256


@kernel
def _symbol_code(value: Any, k: Any) -> Any:
    """(code, bits) of a value: the inverse of ``decoding.gaps.read_symbol``."""
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


@kernel
def _pack(fields: Any, width: Any, first_bit: Any, words: Any) -> None:
    bits = np.uint64(width)
    index = first_bit // 64
    filled = np.uint64(first_bit % 64)
    pending = words[index] if filled else np.uint64(0)
    for field in fields:
        value = np.uint64(field)
        pending |= value << filled
        filled += bits
        if filled >= _WORD_BITS:
            words[index] = pending
            index += 1
            filled -= _WORD_BITS
            pending = value >> (bits - filled)
    if filled:
        words[index] = pending


def pack(
    fields: NDArray[np.uint32], width: int, lead: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Pack fields into a bit stream.

    Args:
        fields: uint32 [count], each below 2^width.
        width: bits a field, 0 .. 24.
        lead: uint8 [bits] of 0 and 1 that come first in the stream.

    Returns:
        uint8: the stream, to the end of its last byte.
    """
    first_bit = 0 if lead is None else lead.size
    bits = first_bit + fields.size * width
    words = np.zeros(-(-bits // 64), np.uint64)
    if lead is not None:
        packed = np.packbits(lead, bitorder="little")
        words.view(np.uint8)[: packed.size] = packed
    if fields.size and width:
        _pack(fields, width, first_bit, words)
    return words.view(np.uint8)[: bytes_of_bits(bits)]
