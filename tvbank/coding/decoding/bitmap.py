"""The 1 bits of a bitmap, listed nearly without branches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import load_64, store_32
from tvbank.coding.kernel import (
    instruction,
    ir,
    kernel,
    ones_in,
    processor_has,
    trailing_zeros,
    types,
)

_U = np.uint64
_ONE, _FOUR, _SIXTEEN = _U(1), _U(4), _U(16)
_BITS: Final = 64
#: Lanes of a vector of 32 bits.
_LANES: Final = 16


def _store_lanes(first: int, last: int) -> Callable[..., Any]:
    """An instruction that stores the numbers of the ``first``-th to ``last``-th 1 bits."""
    byte, word = ir.IntType(8), ir.IntType(32)
    numbers = ir.VectorType(byte, _BITS)

    @instruction()
    def store(typing: Any, bits: Any, base: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            marks = builder.bitcast(arguments[0], ir.VectorType(ir.IntType(1), _BITS))
            every = ir.Constant(numbers, list(range(_BITS)))
            kind = ir.FunctionType(numbers, [numbers, numbers, marks.type])
            name = "llvm.x86.avx512.mask.compress.v64i8"
            compress = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
            packed = builder.call(compress, [every, ir.Constant(numbers, None), marks])
            lanes = ir.VectorType(word, _LANES)
            low = ir.Constant(word, 0)
            one = builder.insert_element(ir.Constant(lanes, ir.Undefined), arguments[1], low)
            bases = builder.shuffle_vector(one, one, ir.Constant(lanes, [0] * _LANES))
            for lane in range(first, last, _LANES):
                some = ir.Constant(lanes, list(range(lane, lane + _LANES)))
                part = builder.zext(builder.shuffle_vector(packed, packed, some), lanes)
                at = builder.add(arguments[2], ir.Constant(arguments[2].type, 4 * lane))
                pointer = builder.inttoptr(at, lanes.as_pointer())
                builder.store(builder.add(part, bases), pointer, align=1)
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint32, types.uint64), generate

    return store


#: Store ``base`` plus the numbers of the 1 bits of a word, the 16 lowest, and the others; as many
#: uint32 as that are written, whatever the word.
_store_16, _store_48 = _store_lanes(0, 16), _store_lanes(16, 64)
#: Whether the processor that numba compiles for has this instruction (AVX-512 VBMI2).
HAS_COMPRESS: Final = processor_has("avx512vbmi2")


@kernel
def are_many(count: Any, extent: Any) -> Any:
    """Whether words of 64 bits often have more than four ones."""
    return 32 * count > extent


@kernel
def _list_by_steps(
    ones: Any, word_at: Any, phase: Any, listed: Any, wanted: Any, count: Any, out: Any, many: Any
) -> Any:
    """``list_ones`` in a fixed number of steps a word, whose surplus the next word stores over.

    There are more steps if a word has more ones: that should be rare.
    """
    while listed < wanted:
        word = load_64(ones + _U(8 * word_at))
        if not word:
            word_at += 1
            continue
        base = _U(64 * word_at) - phase
        here = np.int64(ones_in(word))
        at = out + _U(4 * listed)
        if listed + 8 <= count:
            for lane in range(4):
                store_32(at + _U(4 * lane), np.uint32(base + trailing_zeros(word)))
                word &= word - _ONE
            at += _SIXTEEN
            if many:
                for lane in range(4):
                    store_32(at + _U(4 * lane), np.uint32(base + trailing_zeros(word)))
                    word &= word - _ONE
                at += _SIXTEEN
        while word:
            store_32(at, np.uint32(base + trailing_zeros(word)))
            word &= word - _ONE
            at += _FOUR
        listed += here
        word_at += 1
    return word_at, listed


@kernel
def list_ones(
    ones: Any, word_at: Any, phase: Any, listed: Any, wanted: Any, count: Any, out: Any, many: Any
) -> Any:
    """List the 1 bits of a bitmap, word by word, until there are enough.

    Args:
        ones: address of the bitmap.
        word_at: the word to begin with, int64.
        phase: uint64, subtracted from the numbers of bits, modulo 2^32.
        listed: ones that have been listed before, int64.
        wanted: how many are to be listed at least, at most ``count``.
        count: number of all ones.
        out: address of ``count`` uint32; nothing is written after them.
        many: whether to take eight steps a word instead of four.

    Returns:
        (the word to go on with, ones listed).
    """
    if HAS_COMPRESS:
        # Up to 64 numbers are stored a word; the next word overwrites those beyond its ones.
        while listed < wanted and listed + _BITS <= count:
            word = load_64(ones + _U(8 * word_at))
            here = np.int64(ones_in(word))
            base = np.uint32(_U(64 * word_at) - phase)
            at = out + _U(4 * listed)
            _store_16(word, base, at)
            if here > _LANES:
                _store_48(word, base, at)
            listed += here
            word_at += 1
    return _list_by_steps(ones, word_at, phase, listed, wanted, count, out, many)


@kernel
def only_between(ones: Any, words: Any, first: Any, last: Any) -> Any:
    """Whether no bit of a bitmap before ``first`` or after ``last`` is 1, and ``last`` is."""
    for index in range(first >> 6):
        if load_64(ones + _U(8 * index)):
            return False
    if load_64(ones + _U(8 * (first >> 6))) & ((_ONE << _U(first & 63)) - _ONE):
        return False
    if load_64(ones + _U(8 * (last >> 6))) >> _U(last & 63) != _ONE:
        return False
    rest = _U(0)
    for index in range((last >> 6) + 1, words):
        rest |= load_64(ones + _U(8 * index))
    return rest == _U(0)
