"""One entry moved: float32, float16 and bfloat16 as bit patterns, in integer arithmetic.

Half precision is converted here and not by the processor, because not every processor that
numba compiles for has the instructions, and so that results are the same everywhere.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.memory import (
    float_of,
    load_8,
    load_16,
    load_32,
    pattern_of,
    store_8,
    store_16,
    store_32,
)
from tvbank.coding.kernel import kernel

#: Element types of weights: by their index, a kind, tables of places name them. Of each its name,
#: and the shift that makes a number of weights a number of bytes.
_TYPES: Final = (("float32", 2), ("float16", 1), ("bfloat16", 1))
KINDS: Final = tuple(name for name, _ in _TYPES)
SHIFTS: Final = tuple(np.uint64(shift) for _, shift in _TYPES)
FLOAT32: Final = KINDS.index("float32")
_FLOAT16: Final = KINDS.index("float16")

#: What an entry does to a weight: it is added (lossy tasks); it is a number of steps between
#: neighbouring floats (exact tasks); or the difference that such steps make is weighted and added.
ADD, STEP, ADD_STEPS = 0, 1, 2

_U32, _U64 = np.uint32, np.uint64
_SIGN_32, _REST_32, _INFINITY_32 = _U32(0x80000000), _U32(0x7FFFFFFF), _U32(0x7F800000)
_SIGN_16, _REST_16 = _U32(0x8000), _U32(0x7FFF)
_HALF_INFINITY, _BRAIN_INFINITY = _U32(0x7C00), _U32(0x7F80)
_LEAST_HALF = np.float32(2.0**-24)


@kernel
def single_of_half(half: Any) -> Any:
    """The float32 pattern of a float16 pattern; exact (NaNs keep their payload)."""
    sign = (half & _SIGN_16) << _U32(16)
    magnitude = half & _REST_16
    if magnitude >= _HALF_INFINITY:
        return _U32(sign | _INFINITY_32 | ((magnitude & _U32(0x3FF)) << _U32(13)))
    if magnitude >= _U32(0x400):
        return _U32(sign | ((magnitude << _U32(13)) + _U32(112 << 23)))
    return _U32(sign | pattern_of(np.float32(magnitude) * _LEAST_HALF))


@kernel
def half_of_single(pattern: Any) -> Any:
    """The float16 pattern nearest to a float32 pattern, ties to even; NaN becomes infinite."""
    sign = (pattern >> _U32(16)) & _SIGN_16
    magnitude = pattern & _REST_32
    if magnitude >= _U32(0x47800000):
        return _U32(sign | _HALF_INFINITY)
    if magnitude >= _U32(0x38800000):
        odd = (magnitude >> _U32(13)) & _U32(1)
        return _U32(sign | ((magnitude + _U32(0xFFF) + odd - _U32(112 << 23)) >> _U32(13)))
    shifted = pattern_of(float_of(magnitude) + np.float32(0.5))  # in units of the least half
    return _U32(sign | (shifted - _U32(0x3F000000)))


@kernel
def brain_of_single(pattern: Any) -> Any:
    """The bfloat16 pattern nearest to a float32 pattern, ties to even; NaN becomes infinite."""
    if pattern & _REST_32 >= _INFINITY_32:
        return _U32(((pattern >> _U32(16)) & _SIGN_16) | _BRAIN_INFINITY)
    odd = (pattern >> _U32(16)) & _U32(1)
    return _U32((pattern + _REST_16 + odd) >> _U32(16))


@kernel
def load_weight(shift: Any, address: Any) -> Any:
    """The pattern of a weight whose kind has this one of ``SHIFTS``, as a uint32."""
    if shift == _U64(2):
        return load_32(address)
    return _U32(load_16(address)) if shift == _U64(1) else _U32(load_8(address))


@kernel
def store_weight(shift: Any, address: Any, pattern: Any) -> None:
    """Store a weight's pattern, a uint32."""
    if shift == _U64(2):
        store_32(address, pattern)
    elif shift == _U64(1):
        store_16(address, np.uint16(pattern))
    else:
        store_8(address, np.uint8(pattern))


@kernel
def widened(kind: Any, pattern: Any) -> Any:
    """A weight's float32 pattern."""
    if kind == FLOAT32:
        return pattern
    if kind == _FLOAT16:
        return single_of_half(pattern)
    return _U32(pattern << _U32(16))


@kernel
def rounded(kind: Any, pattern: Any) -> Any:
    """(pattern of the weight nearest to a float32 pattern, whether it is finite)."""
    if kind == FLOAT32:
        return pattern, (pattern & _REST_32) < _INFINITY_32
    if kind == _FLOAT16:
        half = half_of_single(pattern)
        return half, (half & _REST_16) < _HALF_INFINITY
    brain = brain_of_single(pattern)
    return brain, (brain & _REST_16) < _BRAIN_INFINITY


@kernel
def _ordered_32(pattern: Any) -> Any:
    """Invert all bits but the sign of negative numbers; its own inverse."""
    return _U32(pattern ^ _REST_32) if pattern & _SIGN_32 else pattern


@kernel
def _ordered_16(pattern: Any) -> Any:
    return _U32(pattern ^ _REST_16) if pattern & _SIGN_16 else pattern


@kernel
def stepped(kind: Any, pattern: Any, steps: Any) -> Any:
    """The weight that lies ``steps`` (the uint32 pattern of an int32) away among the floats."""
    if kind == FLOAT32:
        return _ordered_32(_U32(_ordered_32(pattern) + steps))
    return _ordered_16(_U32((_ordered_16(pattern) + steps) & _U32(0xFFFF)))


@kernel
def entry_of(kind: Any, mode: Any, pattern: Any, entry: Any) -> Any:
    """What is added to a weight, before it is multiplied, as a float32."""
    if mode == ADD:
        return float_of(entry)
    end = float_of(widened(kind, stepped(kind, pattern, entry)))
    return end - float_of(widened(kind, pattern))


@kernel
def moved(kind: Any, mode: Any, pattern: Any, entry: Any, weight: Any) -> Any:
    """One weight after one task alone.

    Args:
        kind: index into ``KINDS``.
        mode: ``ADD``, ``STEP`` or ``ADD_STEPS``.
        pattern: uint32, the weight's pattern.
        entry: uint32, the entry's pattern: of a float32, or of an int32 for steps.
        weight: float32, by which what is added is multiplied; ``STEP`` does without.

    Returns:
        (uint32 pattern, whether it is finite or need not be).
    """
    if mode == STEP:
        return stepped(kind, pattern, entry), True
    added = weight * entry_of(kind, mode, pattern, entry)
    return rounded(kind, pattern_of(float_of(widened(kind, pattern)) + added))
