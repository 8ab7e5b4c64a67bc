"""Values of a frame's non-zeros, of every value encoding, decoded from memory by address."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.decoders import Decoder, call_decoder, enter
from tvbank.coding.decoding.elements import single_of_half
from tvbank.coding.decoding.gaps import is_non_canonical, read_symbol
from tvbank.coding.decoding.magnitudes import decode_base_magnitudes, decode_magnitudes
from tvbank.coding.decoding.memory import (
    float_of,
    load_16,
    load_32,
    load_64,
    load_bits,
    pattern_of,
    store_32,
    uint32_pointer,
)
from tvbank.coding.decoding.positions import MASK_DECODERS, given_of, stream_code, unpack
from tvbank.coding.decoding.table import (
    NONZEROS,
    VALUE_BYTES,
    VALUE_PARAMETER,
    VALUES,
    VALUES_AT,
)
from tvbank.coding.faults import (
    CODE,
    FRAME_TRAILING,
    FRAME_TRUNCATED,
    MAGNITUDE,
    NON_CANONICAL,
    TABLE,
    VALID,
    VALUE,
    ZERO_VALUE,
)
from tvbank.coding.kernel import carray, kernel
from tvbank.coding.values import VALUES as ENCODINGS

SIGN: Final = next(values.id for values in ENCODINGS if values.name == "sign")

_U, _U32 = np.uint64, np.uint32
_ONE, _THREE = _U(1), _U(3)
_REST, _INFINITY = _U32(0x7FFFFFFF), _U32(0x7F800000)
_HALF_REST, _HALF_INFINITY = _U32(0x7FFF), _U32(0x7C00)
#: |v| − 1 of the least int32; of the greatest it is one less.
_GREATEST = _U(0x7FFF_FFFF)
_BLOCK = 32


def _none(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    return 1 + (FRAME_TRAILING if size else VALID)


@kernel
def _sign_code(section: Any, size: Any, count: Any) -> Any:
    code = stream_code(section, size, 32 + count, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return code
    magnitude = load_32(section)
    return MAGNITUDE if magnitude == 0 or magnitude > _REST else VALID


@kernel
def sign_magnitude(frames: Any, row: Any) -> Any:
    """The magnitude of a frame of sign values, uint32; 0 if the section is not valid."""
    section = _U(frames[row, VALUES_AT])
    if _sign_code(section, frames[row, VALUE_BYTES], frames[row, NONZEROS]):
        return _U32(0)
    return load_32(section)


def _sign(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = _sign_code(section, size, count)
    if code:
        return 1 + code
    positive = load_32(section)
    negative = _U32(positive | _U32(0x80000000)) if is_float else _U32(-np.int64(positive))
    change = positive ^ negative
    patterns = carray(uint32_pointer(out), count)
    for first in range(0, count, _BLOCK):
        word = _U32(load_bits(section, _U(32 + first)))
        for lane in range(min(_BLOCK, count - first)):
            bit = (word >> _U32(lane)) & _U32(1)
            patterns[first + lane] = positive ^ (change & _U32(-np.int64(bit)))
    return 1 + VALID


@kernel
def _look_up(
    section: Any, size: Any, first_bit: Any, width: Any, levels: Any, known: Any, patterns: Any
) -> Any:
    """Read codes of ``width`` bits, write what they stand for: ``known`` uint32 at ``levels``."""
    unpack(section, size, first_bit, width, patterns)
    zero: Any = False
    for index in range(patterns.size):
        code = patterns[index]
        if code >= known:
            return CODE
        pattern = load_32(levels + _U(4 * code))
        zero |= pattern == 0
        patterns[index] = pattern
    return ZERO_VALUE if zero else VALID


def _table(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    width = 0
    while (parameter - 1) >> width:
        width += 1
    bits = 32 * parameter
    code = stream_code(section, size, bits + count * width, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    patterns = carray(uint32_pointer(out), count)
    if _look_up(section, size, bits, width, section, parameter, patterns) == CODE:
        return 1 + CODE
    last = _U32(0)
    for index in range(parameter):
        level = load_32(section + _U(4 * index))
        if level <= last:
            return 1 + TABLE
        last = level
    return 1 + VALID


def _affine(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    bits = 64 + count * parameter
    code = stream_code(section, size, bits, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    offset, step = load_32(section), load_32(section + _U(4))
    if (offset & _REST) >= _INFINITY or (step & _REST) >= _INFINITY:
        return 1 + VALUE
    levels = np.empty(1 << parameter, _U32)
    for number in range(1 << parameter):
        value = np.float64(float_of(offset)) + np.float64(number) * np.float64(float_of(step))
        levels[number] = pattern_of(np.float32(value))
    at = _U(levels.ctypes.data)
    patterns = carray(uint32_pointer(out), count)
    code = _look_up(section, size, 64, parameter, at, levels.size, patterns)
    return (
        1 + code + 0 * levels.size
    )  # uses the array once more, so that numba keeps its memory until here


def _halves(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = stream_code(section, size, 16 * count, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    nan: Any = False
    zero: Any = False
    for index in range(count):
        half = _U32(load_16(section + _U(2 * index)))
        nan |= (half & _HALF_REST) > _HALF_INFINITY
        zero |= half == 0
        store_32(out + _U(4 * index), single_of_half(half))
    if nan:
        return 1 + VALUE
    return 1 + (ZERO_VALUE if zero else VALID)


def _upper_halves(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = stream_code(section, size, 16 * count, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    zero: Any = False
    for index in range(count):
        half = _U32(load_16(section + _U(2 * index)))
        zero |= half == 0
        store_32(out + _U(4 * index), _U32(half << _U32(16)))
    return 1 + (ZERO_VALUE if zero else VALID)


def _raw(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = stream_code(section, size, 32 * count, FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    zero = False
    for index in range(count):
        pattern = load_32(section + _U(4 * index))
        zero |= pattern == 0
        store_32(out + _U(4 * index), pattern)
    return 1 + (ZERO_VALUE if zero else VALID)


def _rice(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    k = _U(parameter)
    bit, end = _U(0), _U(8 * size)
    needless = too_large = False
    for index in range(count):
        if bit >= end:
            return 1 + FRAME_TRUNCATED
        word = load_bits(section, bit)
        negative = word & _ONE
        symbol, bits = read_symbol(word >> _ONE, k)
        needless |= is_non_canonical(symbol, bits, k)
        too_large |= symbol + _ONE > _GREATEST + negative
        bit += bits + _ONE
        store_32(out + _U(4 * index), _U32(~symbol if negative else symbol + _ONE))
    code = stream_code(section, size, np.int64(bit), FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return 1 + code
    if needless:
        return 1 + NON_CANONICAL
    return 1 + (VALUE if too_large else VALID)


#: The decoder of each value encoding, by id.
VALUE_DECODERS: Final[tuple[Decoder, ...]] = (
    _none, _sign, _table, _affine, _halves, _upper_halves, _raw, _rice,
    decode_magnitudes, decode_base_magnitudes,
)  # fmt: skip
_FIRST_SLOT: Final = len(MASK_DECODERS)
enter(_FIRST_SLOT, VALUE_DECODERS)


@kernel
def decode_patterns(frames: Any, row: Any, is_float: Any, out: Any, tables: Any) -> Any:
    """Decode the values of one frame and check the value section.

    A frame that is given the base needs its positions, which ``decode_positions`` has decoded to
    where they still are.

    Args:
        frames: int64, the table of frames (see ``table``); its header was valid.
        row: the frame's row.
        is_float: whether the frame's elements are float32; else they are int32.
        out: address of memory for its non-zeros, uint32; nothing is written beyond it, whatever
            the section holds, and nothing is read beyond ``TAIL_BYTES`` after the section.
        tables: what ``run_tables_address`` returns.

    Returns:
        0 if the section is valid: then no pattern is zero. Else the code of the fault (see
        ``faults``); −1 or ``NEEDS_BASE`` as of ``decode_positions``.
    """
    decoder = load_64(tables + (_U(_FIRST_SLOT + frames[row, VALUES]) << _THREE))
    return (
        call_decoder(
            decoder, _U(frames[row, VALUES_AT]), frames[row, VALUE_BYTES],
            frames[row, VALUE_PARAMETER], np.int64(is_float), frames[row, NONZEROS], out, tables,
            given_of(frames, row),
        ) - 1
    )  # fmt: skip
