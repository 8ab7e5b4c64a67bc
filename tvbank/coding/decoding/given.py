"""The base's own bits, by address: what a frame that is given the base takes its contexts from.

Of each weight one byte counts, its *exponent byte*, bits 7 to 14 of the upper 16 of its pattern:
the exponent of float32 and bfloat16, and exponent and top three bits of the mantissa of float16.
Where a base lies is told by two words: the address of the upper 16 bits of its first weight, or 0
if there is no base at hand; and the logarithm of the bytes of a weight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target

from tvbank.coding.decoding.memory import instruction, load_16
from tvbank.coding.kernel import inlined, kernel

#: Entries that ``at_least`` compares at once.
LANES: Final = 64

_U = np.uint64
_ONE, _TWO, _SEVEN, _BYTE = _U(1), _U(2), _U(7), _U(0xFF)
_WORD: Final = ir.IntType(64)
#: Whether the processor that numba compiles for spreads bits in one instruction: BMI2.
_HAS_DEPOSIT: Final = "+bmi2" in cpu_target.target_context.codegen().magic_tuple()[2]


@inlined
def exponent_byte(upper: Any, shift: Any, position: Any) -> Any:
    """The exponent byte of a weight, uint64.

    Args:
        upper: address of the upper 16 bits of the first weight.
        shift: logarithm of the bytes of a weight, uint64.
        position: of the weight, uint64.
    """
    return (_U(load_16(upper + (position << shift))) >> _SEVEN) & _BYTE


def _comparison(bits: int, low: int) -> Callable[..., Any]:
    """An instruction that compares 64 words of so many bits, whose exponents begin at ``low``."""
    lane = ir.IntType(bits)
    lanes = ir.VectorType(lane, LANES)

    @instruction
    def compare(typing: Any, address: Any, bound: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], lanes.as_pointer())
            loaded = builder.load(pointer, align=1)
            shift, byte = (ir.Constant(lanes, [number] * LANES) for number in (low, 0xFF))
            found = builder.and_(builder.lshr(loaded, shift), byte)
            least = builder.trunc(arguments[1], lane)
            zero = ir.Constant(ir.IntType(32), 0)
            one = builder.insert_element(ir.Constant(lanes, ir.Undefined), least, zero)
            every = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            bounds = builder.shuffle_vector(one, one, every)
            return builder.bitcast(builder.icmp_unsigned(">=", found, bounds), _WORD)

        return types.uint64(types.uint64, types.uint64), generate

    return compare


#: Bit i tells whether the exponent byte of weight i at an address is a bound or more.
_compare_16, _compare_32 = _comparison(16, 7), _comparison(32, 23)
#: The same of 64 exponent bytes that lie side by side.
bytes_at_least = _comparison(8, 0)


@kernel
def _at_least_slow(upper: Any, shift: Any, count: Any, bound: Any) -> Any:
    found = _U(0)
    for lane in range(np.int64(count)):
        byte = exponent_byte(upper, shift, _U(lane))
        found |= _U(byte >= bound) << _U(lane)
    return found


@inlined
def at_least(upper: Any, shift: Any, first: Any, count: Any, end: Any, bound: Any) -> Any:
    """Which of some weights have an exponent byte of ``bound`` or more, as bits.

    Args:
        upper: address of the upper 16 bits of the first weight.
        shift: logarithm of the bytes of a weight, uint64.
        first: position of the weight that bit 0 stands for, uint64.
        count: weights to compare, 1 to 64; bits from there on may be set or not.
        end: number of weights that can be read, at least first + count.
        bound: uint64.
    """
    at = upper + (first << shift)
    if first + _U(LANES) <= end:
        return _compare_16(at, bound) if shift == _ONE else _compare_32(at - _TWO, bound)
    return _at_least_slow(at, shift, count, bound)


@instruction
def _deposit(typing: Any, bits: Any, mask: Any) -> Any:
    """BMI2's pdep."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name = "llvm.x86.bmi.pdep.64"
        kind = ir.FunctionType(_WORD, [_WORD, _WORD])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, arguments)

    return types.uint64(types.uint64, types.uint64), generate


@kernel
def _deposit_slow(bits: Any, mask: Any) -> Any:
    spread = _U(0)
    while mask and bits:
        lowest = mask & (~mask + _ONE)
        if bits & _ONE:
            spread |= lowest
        bits >>= _ONE
        mask ^= lowest
    return spread


@inlined
def deposit(bits: Any, mask: Any) -> Any:
    """Bit i of ``bits`` where the i-th 1 of ``mask`` is; 0 elsewhere."""
    if _HAS_DEPOSIT:
        return _deposit(bits, mask)
    return _deposit_slow(bits, mask)
