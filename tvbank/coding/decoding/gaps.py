"""Gap coded positions, four symbols to a 64-bit load.

A symbol of parameter k is q zeros, a one and k low bits, so that 2·gap + 1 is (q << (k + 1)) plus
the k + 1 bits from the one on. The loop adds these up: twice a position, plus one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import inlined, load_bits, prefetch, store_32
from tvbank.coding.kernel import kernel, trailing_zeros
from tvbank.coding.rice import is_non_canonical, read_symbol

_U = np.uint64
_ONE, _TWO, _FOUR, _SIXTEEN, _LAST_SHIFT = _U(1), _U(2), _U(4), _U(16), _U(63)
#: Bits of a load that are sure to be of the stream, and quotients that are not escaped.
_LOAD_BITS, _ESCAPE = 57, 24
#: A number of bits that no section reaches: what is returned when a stream is at fault.
BROKEN = _U(1 << 62)


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
        (bit, twice) behind the four; ``bit`` is ``BROKEN`` if a symbol starts behind the end or is
        not canonical. It can otherwise exceed ``end`` by a part of the last symbols, and
        positions that exceed 32 bits are stored modulo 2^32: the caller checks both.
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
        return BROKEN, twice
    gap, bits = read_symbol(load_bits(stream, bit), k)
    if is_non_canonical(gap, bits, k):
        return BROKEN, twice
    twice += gap << _ONE
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


@kernel
def decode_gaps(stream: Any, end: Any, parameter: Any, count: Any, out: Any) -> Any:
    """Decode all positions of a section.

    Args:
        stream: address of the section.
        end: its bits, uint64; ``TAIL_BYTES`` follow it.
        parameter: k.
        count: number of non-zeros, int64.
        out: address of as many uint32.

    Returns:
        (bits read, position behind the last one), uint64; the bits exceed ``end`` if the stream
        is at fault.
    """
    limit = quad_limit(parameter)
    bit, twice = next_gaps(stream, _U(0), end, _U(0), _U(parameter), limit, count, out, None)
    return bit, twice >> _ONE
