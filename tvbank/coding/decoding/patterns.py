"""Values of a frame's non-zeros, of every value encoding, decoded from memory by address."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from tvbank.coding.decoding.elements import single_of_half
from tvbank.coding.decoding.memory import (
    float_of,
    load_16,
    load_32,
    load_bits,
    pattern_of,
    uint8_pointer,
    uint32_pointer,
)
from tvbank.coding.decoding.positions import ends_at
from tvbank.coding.decoding.table import (
    NONZEROS,
    TAIL_BYTES,
    VALUE_BYTES,
    VALUE_PARAMETER,
    VALUES,
    VALUES_AT,
)
from tvbank.coding.fields import _unpack as unpack_fields
from tvbank.coding.kernel import kernel
from tvbank.coding.sections import VALUE_ENCODINGS
from tvbank.coding.values.rice import _decode as decode_rice

(_NONE, SIGN, _TABLE, _AFFINE, _FLOAT16, _BFLOAT16, _RAW, _RICE) = range(8)
#: Value encodings that ``decode_patterns`` knows.
KNOWN_VALUES = VALUE_ENCODINGS[: _RICE + 1]

_U, _U32 = np.uint64, np.uint32
_REST, _INFINITY = _U32(0x7FFFFFFF), _U32(0x7F800000)
_BLOCK = 32


@kernel
def sign_magnitude(frames: Any, row: Any) -> Any:
    """The magnitude of a frame of sign values, uint32; 0 if the section is not valid."""
    section, size = _U(frames[row, VALUES_AT]), frames[row, VALUE_BYTES]
    if size < 4 or not ends_at(section + _U(4), size - 4, frames[row, NONZEROS]):
        return _U32(0)
    magnitude = load_32(section)
    return magnitude if magnitude <= _REST else _U32(0)


@kernel
def _expand_signs(signs: Any, positive: Any, negative: Any, out: Any, count: Any) -> None:
    """``out[i]`` is ``negative`` where bit i is 1, else ``positive``."""
    change = positive ^ negative
    for first in range(0, count, _BLOCK):
        word = _U32(load_bits(signs, _U(first)))
        for lane in range(min(_BLOCK, count - first)):
            bit = (word >> _U32(lane)) & _U32(1)
            out[first + lane] = positive ^ (change & _U32(-np.int64(bit)))


@kernel
def _look_up(table: Any, size: Any, data: Any, bits: Any, patterns: Any) -> Any:
    """Replace codes of ``bits`` bits by entries of a table; False for a code ≥ ``size``, or a 0."""
    unpack_fields(data, bits, patterns)
    valid = True
    for index in range(patterns.size):
        code = patterns[index]
        if code >= size:
            return False
        patterns[index] = table[code]
        valid &= table[code] != 0
    return valid


@kernel
def _decode_table(section: Any, size: Any, entries: Any, patterns: Any) -> Any:
    if size < 4 * entries:
        return False
    bits = 0
    while (entries - 1) >> bits:
        bits += 1
    if not ends_at(section + _U(4 * entries), size - 4 * entries, patterns.size * bits):
        return False
    table = np.empty(256, _U32)
    last = _U32(0)
    for index in range(entries):
        table[index] = load_32(section + _U(4 * index))
        if table[index] <= last:
            return False
        last = table[index]
    data = carray(uint8_pointer(section + _U(4 * entries)), size - 4 * entries + TAIL_BYTES)
    return _look_up(table, entries, data, bits, patterns)


@kernel
def _decode_affine(section: Any, size: Any, bits: Any, patterns: Any) -> Any:
    if size < 8 or not ends_at(section + _U(8), size - 8, patterns.size * bits):
        return False
    offset, step = load_32(section), load_32(section + _U(4))
    if (offset & _REST) >= _INFINITY or (step & _REST) >= _INFINITY:
        return False
    table = np.empty(256, _U32)
    for code in range(1 << bits):
        value = np.float64(float_of(offset)) + np.float64(code) * np.float64(float_of(step))
        table[code] = pattern_of(np.float32(value))
    data = carray(uint8_pointer(section + _U(8)), size - 8 + TAIL_BYTES)
    return _look_up(table, 1 << bits, data, bits, patterns)


@kernel
def _decode_plain(section: Any, values: Any, patterns: Any) -> Any:
    """Halves, upper halves, or whole patterns."""
    valid: Any = True
    for index in range(patterns.size):
        if values == _RAW:
            pattern = load_32(section + _U(4 * index))
        else:
            half = _U32(load_16(section + _U(2 * index)))
            if values == _FLOAT16:
                valid &= (half & _U32(0x7FFF)) <= _U32(0x7C00)
                pattern = single_of_half(half)
            else:
                pattern = _U32(half << _U32(16))
        patterns[index] = pattern
        valid &= pattern != 0
    return valid


@kernel
def decode_patterns(frames: Any, row: Any, is_float: Any, out: Any) -> Any:
    """Decode the values of one frame and check the value section.

    Args:
        frames: int64, the table of frames (see ``table``).
        row: the frame's row.
        is_float: whether the frame's elements are float32; else they are int32.
        out: address of room for its non-zeros, uint32; nothing is written beyond it, whatever the
            section holds, and nothing is read beyond ``TAIL_BYTES`` behind the section.

    Returns:
        Whether the section is valid: then no pattern is zero.
    """
    values, count = frames[row, VALUES], frames[row, NONZEROS]
    parameter, size = frames[row, VALUE_PARAMETER], frames[row, VALUE_BYTES]
    section = _U(frames[row, VALUES_AT])
    patterns = carray(uint32_pointer(out), count)
    if values == _NONE:
        return count == 0 and size == 0
    if values == SIGN:
        magnitude = sign_magnitude(frames, row)
        if magnitude == 0:  # the section may be too short for the signs
            return False
        negative = _U32(magnitude | _U32(0x80000000)) if is_float else _U32(-np.int64(magnitude))
        _expand_signs(section + _U(4), magnitude, negative, patterns, count)
        return True
    if values == _TABLE:
        return _decode_table(section, size, parameter, patterns)
    if values == _AFFINE:
        return is_float and _decode_affine(section, size, parameter, patterns)
    if values in (_FLOAT16, _BFLOAT16):
        return is_float and size == 2 * count and _decode_plain(section, values, patterns)
    if values == _RAW:
        return size == 4 * count and _decode_plain(section, values, patterns)
    if values == _RICE:
        if is_float or count * (parameter + 2) > 8 * size:
            return False
        data = carray(uint8_pointer(section), size + TAIL_BYTES)
        read, wrong, too_large = decode_rice(data, size, parameter, patterns)
        return not (wrong or too_large) and ends_at(section, size, read)
    return False
