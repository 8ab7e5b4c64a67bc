"""One pass over a unit's entries: soft weights, the sums of their gradients, hard entries.

Gates and levels are computed again wherever they are needed, which costs less than storing them:
all loops run as vector instructions, about 0.6 ns an entry. Sums are float32 over a few thousand
entries and float64 over those; the ranges do not depend on the number of cores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.kernel import kernel_with

_ZERO, _ONE, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_LAST = np.float32(255)
_TO_7, _TO_6, _TO_4 = np.float32(1 / 128), np.float32(1 / 64), np.float32(1 / 16)
#: Exponents are cut off here: beyond, 1 / (1 + 2^x) is 0 or 1 in float32.
_LOW, _HIGH = np.float32(-100), np.float32(100)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
#: Taylor's series of 2^x.
_C1, _C2, _C3 = np.float32(6.931472e-1), np.float32(2.402265e-1), np.float32(5.550411e-2)
_C4, _C5, _C6 = np.float32(9.618129e-3), np.float32(1.333356e-3), np.float32(1.540353e-4)
#: Entries whose sums stay in float32.
_BLOCK = 4096
#: Sums may be taken in another order; NaN and infinity keep their meaning.
_FLAGS = {"reassoc", "contract", "nsz", "nnan"}
_kernel = kernel_with(fastmath=_FLAGS)
_inlined = kernel_with(fastmath=_FLAGS, inline="always")


@_inlined
def _power(x: Any) -> Any:
    """2^x in float32, to 2 units in the last place."""
    x = min(max(x, _LOW), _HIGH)
    whole = np.floor(x + _HALF)
    part = x - whole
    series = (((((_C6 * part + _C5) * part + _C4) * part + _C3) * part + _C2) * part + _C1) * part
    return (series + _ONE) * np.int32((np.int32(whole) + _BIAS) << _MANTISSA).view(np.float32)


@_inlined
def _open(distance: Any, slope: Any) -> Any:
    """σ(distance / (ρ r))."""
    return _ONE / (_ONE + _power(-distance * slope))


@_inlined
def _finest(delta: Any, negative: Any, steps: Any) -> Any:
    """The bin of an entry at 8 bits, 0..255 as a float; bins of fewer bits are its quotients."""
    return min(max(np.ceil((delta + negative) * steps) - _ONE, _ZERO), _LAST)


@_inlined
def _level(delta: Any, code: Any, negative: Any, step: Any, lowest: Any, highest: Any) -> Any:
    """The value of a bin, with the sign of the entry (``Levels``)."""
    centre = (code + _HALF) * step - negative
    return max(centre, lowest) if delta > _ZERO else min(centre, highest)


@_kernel
def soften(base: Any, tuned: Any, scale: Any, row: Any, out: Any, sums: Any) -> None:
    """Weights with soft gates ([F] Eq. 8, 12): base + softplus(κ)·M⊙Q_M(τ); zeros stay zero.

    Args:
        base: float32 [n].
        tuned: float32 [n].
        scale: softplus(κ), float32.
        row: float32 [22], of ``constants``.
        out: float32 [n], overwritten.
        sums: float64 [3]: the sums of M, M₊(1 − M₊) and M₋(1 − M₋) are added.
    """
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    negative, steps = row[4], row[5]
    d1, l1, h1, p1 = row[6], row[7], row[8], row[9] * scale
    d2, l2, h2, p2 = row[10], row[11], row[12], row[13] * scale
    d4, l4, h4, p4 = row[14], row[15], row[16], row[17] * scale
    d8, l8, h8, p8 = row[18], row[19], row[20], row[21] * scale
    for start in range(0, base.size, _BLOCK):
        old, new = base[start : start + _BLOCK], tuned[start : start + _BLOCK]
        soft = out[start : start + _BLOCK]
        gates = plus_slopes = minus_slopes = _ZERO
        for i in range(old.size):
            delta = new[i] - old[i]
            there = _ZERO if delta == _ZERO else _ONE
            plus = _open(delta - t_plus, a_plus)
            minus = _open(-t_minus - delta, a_minus)
            gate = (plus + minus) * there
            code = _finest(delta, negative, steps)
            value = p8 * _level(delta, code, negative, d8, l8, h8)
            value += p4 * _level(delta, np.floor(code * _TO_4), negative, d4, l4, h4)
            value += p2 * _level(delta, np.floor(code * _TO_6), negative, d2, l2, h2)
            value += p1 * _level(delta, np.floor(code * _TO_7), negative, d1, l1, h1)
            soft[i] = old[i] + gate * value
            gates += gate
            plus_slopes += plus * (_ONE - plus) * there
            minus_slopes += minus * (_ONE - minus) * there
        sums[0] += gates
        sums[1] += plus_slopes
        sums[2] += minus_slopes


@_kernel
def reduce(base: Any, tuned: Any, gradient: Any, row: Any, sums: Any) -> None:
    """The sums over entries that ``gradient_of_scalars`` needs.

    Args:
        base: float32 [n].
        tuned: float32 [n].
        gradient: of the loss in the weights, float32 [n].
        row: float32 [22], of ``constants``.
        sums: float64 [6]: g·M·Q(b) for 1, 2, 4, 8 bits, then g·Q_M·M±(1 − M±), are added.
    """
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    negative, steps = row[4], row[5]
    d1, l1, h1, p1 = row[6], row[7], row[8], row[9]
    d2, l2, h2, p2 = row[10], row[11], row[12], row[13]
    d4, l4, h4, p4 = row[14], row[15], row[16], row[17]
    d8, l8, h8, p8 = row[18], row[19], row[20], row[21]
    for start in range(0, base.size, _BLOCK):
        old, new = base[start : start + _BLOCK], tuned[start : start + _BLOCK]
        slopes = gradient[start : start + _BLOCK]
        g1 = g2 = g4 = g8 = g_plus = g_minus = _ZERO
        for i in range(old.size):
            delta = new[i] - old[i]
            there = _ZERO if delta == _ZERO else slopes[i]
            plus = _open(delta - t_plus, a_plus)
            minus = _open(-t_minus - delta, a_minus)
            gate = (plus + minus) * there
            code = _finest(delta, negative, steps)
            q8 = _level(delta, code, negative, d8, l8, h8)
            q4 = _level(delta, np.floor(code * _TO_4), negative, d4, l4, h4)
            q2 = _level(delta, np.floor(code * _TO_6), negative, d2, l2, h2)
            q1 = _level(delta, np.floor(code * _TO_7), negative, d1, l1, h1)
            value = (p1 * q1 + p2 * q2 + p4 * q4 + p8 * q8) * there
            g1 += gate * q1
            g2 += gate * q2
            g4 += gate * q4
            g8 += gate * q8
            g_plus += value * plus * (_ONE - plus)
            g_minus += value * minus * (_ONE - minus)
        sums[0] += g1
        sums[1] += g2
        sums[2] += g4
        sums[3] += g8
        sums[4] += g_plus
        sums[5] += g_minus


@_kernel
def soften_whole(base: Any, tuned: Any, scale: Any, row: Any, out: Any, sums: Any) -> None:
    """As ``soften`` without a quantiser, LGS alone: base + softplus(κ)·M⊙τ ([F] Eq. 8)."""
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    for start in range(0, base.size, _BLOCK):
        old, new = base[start : start + _BLOCK], tuned[start : start + _BLOCK]
        soft = out[start : start + _BLOCK]
        gates = plus_slopes = minus_slopes = _ZERO
        for i in range(old.size):
            delta = new[i] - old[i]
            there = _ZERO if delta == _ZERO else _ONE
            plus = _open(delta - t_plus, a_plus)
            minus = _open(-t_minus - delta, a_minus)
            gate = (plus + minus) * there
            soft[i] = old[i] + gate * delta * scale
            gates += gate
            plus_slopes += plus * (_ONE - plus) * there
            minus_slopes += minus * (_ONE - minus) * there
        sums[0] += gates
        sums[1] += plus_slopes
        sums[2] += minus_slopes


@_kernel
def reduce_whole(base: Any, tuned: Any, gradient: Any, row: Any, sums: Any) -> None:
    """As ``reduce`` for ``soften_whole``: every Q(b), and Q_M, is τ."""
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    for start in range(0, base.size, _BLOCK):
        old, new = base[start : start + _BLOCK], tuned[start : start + _BLOCK]
        slopes = gradient[start : start + _BLOCK]
        mixed = g_plus = g_minus = _ZERO
        for i in range(old.size):
            delta = new[i] - old[i]
            value = _ZERO if delta == _ZERO else slopes[i] * delta
            plus = _open(delta - t_plus, a_plus)
            minus = _open(-t_minus - delta, a_minus)
            mixed += (plus + minus) * value
            g_plus += value * plus * (_ONE - plus)
            g_minus += value * minus * (_ONE - minus)
        for place in range(4):
            sums[place] += mixed
        sums[4] += g_plus
        sums[5] += g_minus


@_kernel
def harden_whole(delta: Any, row: Any, scale: Any) -> None:
    """Multiply entries by softplus(κ) where the gate is above ½, and by zero elsewhere."""
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    for i in range(delta.size):
        entry = delta[i]
        gate = _open(entry - t_plus, a_plus) + _open(-t_minus - entry, a_minus)
        delta[i] = entry * scale if gate > _HALF else _ZERO


@_kernel
def count_open(base: Any, tuned: Any, row: Any) -> Any:
    """How many entries have a gate above ½."""
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    count: Any = 0.0
    for start in range(0, base.size, _BLOCK):
        old, new = base[start : start + _BLOCK], tuned[start : start + _BLOCK]
        opened = _ZERO
        for i in range(old.size):
            delta = new[i] - old[i]
            gate = _open(delta - t_plus, a_plus) + _open(-t_minus - delta, a_minus)
            gate = _ZERO if delta == _ZERO else gate
            opened += _ONE if gate > _HALF else _ZERO
        count += opened
    return count


@_kernel
def harden(delta: Any, row: Any, divisor: Any, first: Any, values: Any) -> None:
    """Replace entries by their values where the gate is above ½, by zero elsewhere.

    Args:
        delta: float32 [n], overwritten.
        row: float32 [22], of ``constants``.
        divisor: the bin of 8 bits over this is the bin of the chosen width.
        first: the first bin of positive entries.
        values: float32 [2^bits], scaled.
    """
    t_plus, a_plus, t_minus, a_minus = row[0], row[1], row[2], row[3]
    negative, steps = row[4], row[5]
    for i in range(delta.size):
        entry = delta[i]
        gate = _open(entry - t_plus, a_plus) + _open(-t_minus - entry, a_minus)
        value = _ZERO
        if gate > _HALF and entry != _ZERO:
            code = np.int64(_finest(entry, negative, steps)) // divisor
            value = values[max(code, first) if entry > _ZERO else min(code, first - 1)]
        delta[i] = value
