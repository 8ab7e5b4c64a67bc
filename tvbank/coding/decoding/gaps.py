"""Golomb–Rice symbols, and gap coded positions: four symbols to a 64-bit load.

A symbol of parameter k is q zeros, a one and k low bits, so that 2·gap + 1 is (q << (k + 1)) plus
the k + 1 bits from the one on. The loop adds these up: twice a position, plus one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import inlined, load_bits, prefetch, store_32
from tvbank.coding.kernel import kernel, trailing_zeros

_U = np.uint64
_ONE, _TWO, _FOUR, _SIXTEEN, _LAST_SHIFT = _U(1), _U(2), _U(4), _U(16), _U(63)
#: Bits of a load that are sure to be of the stream, and quotients that are not escaped.
_LOAD_BITS, _ESCAPE = 57, 24
_ESCAPE_64, _ESCAPE_BITS, _LOW_32 = _U(_ESCAPE), _U(56), _U(0xFFFFFFFF)
#: A number of bits that no section reaches: a symbol starts after the end of the stream.
_SHORT = _U(1 << 62)
#: A bit of ``twice``, beyond all positions: a symbol was escaped that needs no escape.
NEEDLESS = _U(1 << 62)


@kernel
def read_symbol(word: Any, k: Any) -> Any:
    """(value, bits) of the symbol at bit 0 of ``word``; 56 bits if and only if it is an escape."""
    quotient = trailing_zeros(word)
    if quotient < _ESCAPE_64:
        low = (word >> (quotient + _ONE)) & ((_ONE << k) - _ONE)
        return (quotient << k) | low, quotient + k + _ONE
    return (word >> _ESCAPE_64) & _LOW_32, _ESCAPE_BITS


@kernel
def is_non_canonical(value: Any, bits: Any, k: Any) -> Any:
    """Whether a symbol is an escape though its quotient is below 24."""
    return bits == _ESCAPE_BITS and (value >> k) < _ESCAPE_64


@kernel
def quad_limit(k: Any) -> Any:
    """Four symbols whose quotients sum to less than this lie within one load, none escaped."""
    return _U(max(0, min(_ESCAPE, _LOAD_BITS + 1 - 4 * (k + 1))))


@inlined
def four_gaps(
    stream: Any, bit: Any, end: Any, twice: Any, k: Any, limit: Any, out: Any, lines: Any
) -> Any:
    """Decode four symbols.

    Args:
        stream: address of the section.
        bit: where the first symbol starts, at most ``end``.
        end: bits of the section; ``TAIL_BYTES`` follow it.
        twice: twice the first position that is still possible.
        k: the parameter, uint64.
        limit: ``quad_limit(k)``.
        out: address of four uint32, the positions.
        lines: address of float32 weights whose cache lines at the positions are asked for, or None.

    Returns:
        (bit, twice) after the four. ``bit`` exceeds ``end`` if the stream ends within a symbol;
        ``twice`` has the bit ``NEEDLESS`` after a symbol that is not canonical. Positions that
        exceed 32 bits are stored modulo 2^32: the caller compares ``twice`` with the extent.
    """
    step = k + _ONE
    mask = (_ONE << step) - _ONE
    word = load_bits(stream, bit)
    q0 = trailing_zeros(word)
    word >>= q0 & _LAST_SHIFT
    g0 = (q0 << step) + (word & mask)
    word >>= step
    q1 = trailing_zeros(word)
    word >>= q1 & _LAST_SHIFT
    g1 = (q1 << step) + (word & mask)
    word >>= step
    q2 = trailing_zeros(word)
    word >>= q2 & _LAST_SHIFT
    g2 = (q2 << step) + (word & mask)
    word >>= step
    q3 = trailing_zeros(word)
    word >>= q3 & _LAST_SHIFT
    g3 = (q3 << step) + (word & mask)
    quotients = q0 + q1 + q2 + q3
    if quotients < limit:
        g0 += twice
        store_32(out, np.uint32(g0 >> _ONE))
        g1 += g0 + _ONE
        store_32(out + _FOUR, np.uint32(g1 >> _ONE))
        g2 += g1 + _ONE
        store_32(out + _FOUR + _FOUR, np.uint32(g2 >> _ONE))
        g3 += g2 + _ONE
        store_32(out + _FOUR + _FOUR + _FOUR, np.uint32(g3 >> _ONE))
        if lines is not None:
            prefetch(lines + (g0 >> _ONE << _TWO))
            prefetch(lines + (g1 >> _ONE << _TWO))
            prefetch(lines + (g2 >> _ONE << _TWO))
            prefetch(lines + (g3 >> _ONE << _TWO))
        return bit + quotients + step * _FOUR, g3 + _ONE
    for _ in range(4):
        bit, twice = one_gap(stream, bit, end, twice, k, out)
        out += _FOUR
    return bit, twice


@kernel
def one_gap(stream: Any, bit: Any, end: Any, twice: Any, k: Any, out: Any) -> Any:
    """Decode one symbol; otherwise as ``four_gaps``, but ``bit`` may exceed ``end``."""
    if bit >= end:
        return _SHORT, twice
    gap, bits = read_symbol(load_bits(stream, bit), k)
    twice += gap << _ONE
    if is_non_canonical(gap, bits, k):
        twice |= NEEDLESS
    store_32(out, np.uint32(twice >> _ONE))
    return bit + bits, twice + _ONE + _ONE


@kernel
def next_gaps(
    stream: Any,
    bit: Any,
    end: Any,
    twice: Any,
    k: Any,
    limit: Any,
    count: Any,
    out: Any,
    lines: Any,
) -> Any:
    """Decode ``count`` symbols, int64; stops where ``bit`` exceeds ``end``; see ``four_gaps``."""
    while count >= 4 and bit <= end:
        bit, twice = four_gaps(stream, bit, end, twice, k, limit, out, lines)
        out += _SIXTEEN
        count -= 4
    while count > 0 and bit <= end:
        bit, twice = one_gap(stream, bit, end, twice, k, out)
        out += _FOUR
        count -= 1
    return bit, twice
