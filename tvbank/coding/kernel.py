"""The decorator of every compiled loop, and the machine instructions that Python cannot name.

Without numba the loops that read are plain Python, and so is each instruction (see ``plain``). The
loops see only contiguous uint8, uint32 and uint64 arrays and Python integers, so that each is
compiled once. Offsets are uint64 throughout: numba turns uint64 mixed with int64 into float64.
How they are compiled, and where machine code is kept, is in ``_compiling``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from tvbank.coding import plain
from tvbank.coding.plain import COMPILED as COMPILED

if COMPILED:
    import llvmlite.ir
    from numba import types as numba_types
    from numba.core import cgutils
    from numba.core.registry import cpu_target
    from numba.extending import intrinsic
    from numba.np import numpy_support

    from tvbank.coding import _compiling

#: LLVM's types and numba's, ``numba.carray``, and ``_compiling.compile_for_c``.
ir: Any = llvmlite.ir if COMPILED else plain.Nothing()
types: Any = numba_types if COMPILED else plain.Nothing()
carray: Any = numpy_support.carray if COMPILED else plain.array_at
compile_for_c: Callable[..., int] = (
    _compiling.compile_for_c if COMPILED else plain.needs_numba("tvbank.switching")
)

if sys.byteorder != "little":
    raise ImportError("tvbank's kernels load little-endian words; this machine is big-endian")

_Function = TypeVar("_Function", bound=Callable[..., Any])
_WORD = ir.IntType(64)
_THREE, _SEVEN, _LAST_LANE = np.uint64(3), np.uint64(7), np.uint64(63)


def kernel(function: _Function) -> _Function:
    """Compile a function with numba: without the GIL, kept on disk, no checks of division."""
    return cast(_Function, _compiled(function, {}))


def inlined(function: _Function) -> _Function:
    """A kernel that is worth no call: it is copied into its callers."""
    return cast(_Function, _compiled(function, {"forceinline": True}))


def kernel_with(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A kernel with options of numba's ``njit``, such as ``fastmath``."""
    return lambda function: _compiled(function, options)


def _compiled(function: Callable[..., Any], options: dict[str, Any]) -> Callable[..., Any]:
    """The kernel of a function; plain Python without numba, or with NUMBA_DISABLE_JIT=1."""
    if not COMPILED:
        return plain.plain(function)
    return cast(Callable[..., Any], _compiling.Kernel(function, targetoptions=options))


def instruction(
    without: Callable[..., Any] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function of numba's typing context and types that says how to generate code.

    Args:
        without: the Python that takes its place without numba; none if no loop that reads calls it.
    """
    if COMPILED:
        return lambda function: cast(Callable[..., Any], intrinsic(function))
    return lambda function: without or plain.needs_numba("tvbank.switching")


def processor_has(feature: str) -> bool:
    """Whether the processor that numba compiles for has a feature, by LLVM's name."""
    return COMPILED and f"+{feature}" in cpu_target.target_context.codegen().magic_tuple()[2]


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The address of an entry; the arguments are the array and the index."""
    proxy: Any = cgutils.create_struct_proxy
    array = proxy(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


@instruction(plain.load_word)
def _load_word(typing: Any, data: Any, byte: Any) -> Any:
    """The 64 bits that start at a byte of a uint8 array, aligned or not."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        return builder.load(builder.bitcast(address, _WORD.as_pointer()), align=1)

    return types.uint64(data, types.uint64), generate


@instruction(plain.load_lanes)
def _load_lanes(typing: Any, patterns: Any, index: Any) -> Any:
    """Bit i tells whether entry i of 64 entries of a uint32 array is not zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.IntType(32), 64)
        address = _address(context, builder, signature, arguments)
        loaded = builder.load(builder.bitcast(address, lanes.as_pointer()), align=4)
        differs = builder.icmp_unsigned("!=", loaded, ir.Constant(lanes, None))
        return builder.bitcast(differs, _WORD)

    return types.uint64(patterns, types.uint64), generate


@instruction(plain.trailing_zeros)
def trailing_zeros(typing: Any, word: Any) -> Any:
    """Number of zero bits below the lowest 1 of a uint64; 64 for zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@instruction(plain.leading_zeros)
def leading_zeros(typing: Any, word: Any) -> Any:
    """Number of zero bits above the highest 1 of a uint64; 64 for zero."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@instruction(plain.ones_in)
def ones_in(typing: Any, word: Any) -> Any:
    """Number of 1 bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@kernel
def bits_from(data: Any, bit: Any) -> Any:
    """At least 57 bits of a stream from ``bit`` on, as a uint64.

    Args:
        data: uint8; at least 8 bytes must follow the start of the byte of ``bit``. Nothing is
            checked, except under NUMBA_BOUNDSCHECK=1.
        bit: uint64.
    """
    byte = bit >> _THREE
    _ = data[byte + _SEVEN]  # checked if bounds are; else the compiler drops it
    return _load_word(data, byte) >> (bit & _SEVEN)


@kernel
def nonzero_bits(patterns: Any, index: Any) -> Any:
    """Bit i tells whether entry ``index`` + i is not zero, for 64 entries at once.

    Args:
        patterns: uint32; at least 64 entries must follow. Nothing is checked, except under
            NUMBA_BOUNDSCHECK=1.
        index: uint64.
    """
    _ = patterns[index + _LAST_LANE]  # checked if bounds are; else the compiler drops it
    return _load_lanes(patterns, index)
