"""The base's own bits, by address: what a frame that is given the base takes its contexts from.

Of each weight one byte counts, its *exponent byte*, bits 7 to 14 of the upper 16 of its pattern:
the exponent of float32 and bfloat16, and exponent and top three bits of the mantissa of float16.
Where a base lies is told by two words: the address of the upper 16 bits of its first weight, or 0
if there is no base at hand; and the logarithm of the bytes of a weight.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding import plain
from tvbank.coding.decoding.memory import load_16, uint16_pointer, uint32_pointer
from tvbank.coding.kernel import carray, inlined, instruction, ir, kernel, processor_has, types

#: Bytes that ``bytes_at_least`` compares at once.
LANES: Final = 64

_U = np.uint64
_ONE, _TWO, _SEVEN, _BYTE = _U(1), _U(2), _U(7), _U(0xFF)
_WORD: Final = ir.IntType(64)
#: Whether the processor that numba compiles for spreads bits in one instruction: BMI2.
_HAS_DEPOSIT: Final = processor_has("bmi2")


@inlined
def exponent_byte(upper: Any, shift: Any, position: Any) -> Any:
    """The exponent byte of a weight, uint64.

    Args:
        upper: address of the upper 16 bits of the first weight.
        shift: logarithm of the bytes of a weight, uint64.
        position: of the weight, uint64.
    """
    return (_U(load_16(upper + (position << shift))) >> _SEVEN) & _BYTE


@instruction(plain.bytes_at_least)
def bytes_at_least(typing: Any, address: Any, bound: Any) -> Any:
    """Bit i tells whether the i-th of the 64 bytes at an address is a bound or more."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lane = ir.IntType(8)
        lanes = ir.VectorType(lane, LANES)
        loaded = builder.load(builder.inttoptr(arguments[0], lanes.as_pointer()), align=1)
        least = builder.trunc(arguments[1], lane)
        zero = ir.Constant(ir.IntType(32), 0)
        one = builder.insert_element(ir.Constant(lanes, ir.Undefined), least, zero)
        every = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        bounds = builder.shuffle_vector(one, one, every)
        return builder.bitcast(builder.icmp_unsigned(">=", loaded, bounds), _WORD)

    return types.uint64(types.uint64, types.uint64), generate


@kernel
def list_exponents(upper: Any, shift: Any, count: Any, out: Any) -> None:
    """The exponent bytes of some weights.

    Args:
        upper: address of the upper 16 bits of the first weight.
        shift: logarithm of the bytes of a weight, uint64.
        count: number of weights.
        out: uint8 [count or more], overwritten up to there.
    """
    if shift == _ONE:
        halves = carray(uint16_pointer(upper), count)
        for index in range(count):
            out[index] = np.uint8(halves[index] >> np.uint16(7))
    else:
        words = carray(uint32_pointer(upper - _TWO), count)
        for index in range(count):
            out[index] = np.uint8(words[index] >> np.uint32(23))


@instruction()
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
