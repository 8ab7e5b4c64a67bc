"""Memory by address: what the fused loops load, store and prefetch, and sixteen floats at a time.

An address is a uint64. Nothing here is checked: every caller proves, in its docstring, that what
it touches lies within memory that it was given. Addresses keep the loops free of the reference
counts that numba puts around arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tvbank.coding import plain
from tvbank.coding.kernel import inlined as inlined
from tvbank.coding.kernel import instruction, ir, kernel, types

#: Entries that the vector instructions below take at once.
LANES = 16

_THREE, _SEVEN = np.uint64(3), np.uint64(7)
_INT32, _FLOAT = ir.IntType(32), ir.FloatType()
_PATTERNS, _FLOATS = ir.VectorType(_INT32, LANES), ir.VectorType(_FLOAT, LANES)


def _loader(bits: int, loaded: Any) -> Callable[..., Any]:
    word = ir.IntType(bits)

    @instruction(plain.LOADS[bits])
    def load(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.load(builder.inttoptr(arguments[0], word.as_pointer()), align=1)

        return loaded(types.uint64), generate

    return load


def _storer(bits: int, stored: Any) -> Callable[..., Any]:
    word = ir.IntType(bits)

    @instruction(plain.STORES[bits])
    def store(typing: Any, address: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], word.as_pointer())
            builder.store(arguments[1], pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, stored), generate

    return store


#: Unsigned integers at an address, aligned or not.
load_64, load_32 = _loader(64, types.uint64), _loader(32, types.uint32)
load_16, load_8 = _loader(16, types.uint16), _loader(8, types.uint8)
store_64, store_32 = _storer(64, types.uint64), _storer(32, types.uint32)
store_16, store_8 = _storer(16, types.uint16), _storer(8, types.uint8)


@kernel
def load_bits(address: Any, bit: Any) -> Any:
    """At least 57 bits of a stream from ``bit`` on; eight bytes are loaded."""
    return load_64(address + (bit >> _THREE)) >> (bit & _SEVEN)


@instruction(plain.nothing)
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line of an address, to be written; any address will do."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, _INT32, _INT32, _INT32])
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer.type,), kind)
        hints = [ir.Constant(_INT32, hint) for hint in (1, 2, 1)]  # write, keep in L2, data
        builder.call(function, [pointer, *hints])
        return context.get_dummy_value()

    return types.void(types.uint64), generate


@instruction()
def take_ticket(typing: Any, counter: Any) -> Any:
    """The int64 at an address, which counts on for the next one to ask, on whatever thread."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        pointer = builder.inttoptr(arguments[0], word.as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(word, 1), "monotonic")

    return types.int64(types.uint64), generate


@instruction(plain.float_of)
def float_of(typing: Any, pattern: Any) -> Any:
    """The float32 of a uint32 pattern."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _FLOAT)

    return types.float32(types.uint32), generate


@instruction(plain.pattern_of)
def pattern_of(typing: Any, number: Any) -> Any:
    """The uint32 pattern of a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], _INT32)

    return types.uint32(types.float32), generate


def _pointer_to(name: str) -> Callable[..., Any]:
    kind, kind_of_pointer = getattr(types, name), types.CPointer

    @instruction(plain.pointer_to(np.dtype(name)))
    def pointer(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return kind_of_pointer(kind)(types.uint64), generate

    return pointer


#: Pointers for ``numba.carray``, which makes arrays of memory by address.
uint8_pointer, uint32_pointer = _pointer_to("uint8"), _pointer_to("uint32")
int64_pointer, float32_pointer = _pointer_to("int64"), _pointer_to("float32")
int16_pointer, int32_pointer = _pointer_to("int16"), _pointer_to("int32")
uint16_pointer = _pointer_to("uint16")


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_PATTERNS, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_PATTERNS, [0] * LANES))


def _constant(value: int) -> Any:
    return ir.Constant(_PATTERNS, [value] * LANES)


def _floats_at(builder: Any, address: Any) -> Any:
    return builder.load(builder.inttoptr(address, _FLOATS.as_pointer()), align=4)


def _add(builder: Any, old: Any, value: Any, new: Any) -> Any:
    """Store the sums; the result has a bit for each that is not finite."""
    total = builder.fadd(_floats_at(builder, old), value)
    builder.store(total, builder.inttoptr(new, _FLOATS.as_pointer()), align=4)
    magnitude = builder.and_(builder.bitcast(total, _PATTERNS), _constant(0x7FFFFFFF))
    infinite = builder.icmp_unsigned(">=", magnitude, _constant(0x7F800000))
    return builder.zext(builder.bitcast(infinite, ir.IntType(LANES)), _INT32)


@instruction()
def add_signed(typing: Any, signs: Any, magnitude: Any, old: Any, new: Any) -> Any:
    """Add ± one number to sixteen float32.

    Args:
        typing: numba's; not an argument of callers.
        signs: uint32; bit i is 1 where the number is taken negative.
        magnitude: uint32, the number's pattern.
        old: address of the sixteen.
        new: address of the sums.

    Returns:
        uint32: bit i is 1 where sum i is not finite.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits, number, before, after = arguments
        lanes = ir.Constant(_PATTERNS, list(range(LANES)))
        turned = builder.shl(builder.lshr(_splat(builder, bits), lanes), _constant(31))
        value = builder.bitcast(builder.xor(turned, _splat(builder, number)), _FLOATS)
        return _add(builder, before, value, after)

    return types.uint32(types.uint32, types.uint32, types.uint64, types.uint64), generate


@instruction()
def add_floats(typing: Any, values: Any, old: Any, new: Any) -> Any:
    """Add sixteen float32 at ``values`` to those at ``old``; otherwise as ``add_signed``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values_at, before, after = arguments
        return _add(builder, before, _floats_at(builder, values_at), after)

    return types.uint32(types.uint64, types.uint64, types.uint64), generate
