"""Value sections: the 32-bit patterns of the non-zeros (values.md)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from .bits import EndOfSection, Section, bytes_for, strictly_ascending
from .invalid import Invalid, require
from .steps import decode_magnitudes

NONE, SIGN, TABLE, AFFINE, FLOAT16, BFLOAT16, RAW, RICE, MAGNITUDES, BASE_MAGNITUDES = range(10)
#: The last encoding of frame version 1.
LAST_OF_FIRST = RICE
FLOAT32, INT32 = range(2)
SIGN_BIT = 1 << 31
MAX_RICE_PARAMETER = 31

_ELEMENTS = {
    AFFINE: {FLOAT32},
    FLOAT16: {FLOAT32},
    BFLOAT16: {FLOAT32},
    RICE: {INT32},
    MAGNITUDES: {INT32},
    BASE_MAGNITUDES: {INT32},
}


def value_encoding_is_valid(encoding: int, element: int, version: int) -> bool:
    """Whether the encoding exists in frames of a version and is allowed for the element type."""
    last = LAST_OF_FIRST if version == 1 else BASE_MAGNITUDES
    return encoding <= last and element in _ELEMENTS.get(encoding, {FLOAT32, INT32})


def value_parameter_is_valid(encoding: int, parameter: int) -> bool:
    """Whether the header's value parameter is one that the encoding allows."""
    if encoding == TABLE:
        return 1 <= parameter <= 256
    if encoding == AFFINE:
        return 1 <= parameter <= 8
    if encoding == RICE:
        return parameter <= MAX_RICE_PARAMETER
    return parameter == 0


def value_section_size(encoding: int, parameter: int, count: int) -> int | None:
    """Bytes of a section whose size follows from the header; ``None`` for symbols."""
    if encoding == SIGN:
        return 4 + bytes_for(count)
    if encoding == TABLE:
        return 4 * parameter + bytes_for(count * _code_width(parameter))
    if encoding == AFFINE:
        return 8 + bytes_for(count * parameter)
    return {NONE: 0, FLOAT16: 2 * count, BFLOAT16: 2 * count, RAW: 4 * count}.get(encoding)


def decode_values(
    encoding: int,
    parameter: int,
    element: int,
    count: int,
    data: bytes,
    exponents: Sequence[int] | None = None,
) -> list[int]:
    """The patterns of the non-zeros in ascending order of position.

    ``exponents``, of the base's weight at each of them, is for ``base-magnitudes``.

    Raises:
        Invalid: ``frame-truncated``, ``frame-trailing``, ``padding``, ``non-canonical``, ``code``,
            ``table``, ``magnitude``, ``value`` or ``zero-value``, in this order.
    """
    size = value_section_size(encoding, parameter, count)
    if size is not None:
        require(size <= len(data), "frame-truncated", "the value section is too short")
        require(size >= len(data), "frame-trailing", "bytes follow the value section")
    if encoding == SIGN:
        patterns = _sign(element, count, data)
    elif encoding == TABLE:
        patterns = _table(parameter, count, data)
    elif encoding == AFFINE:
        patterns = _affine(parameter, count, data)
    elif encoding == FLOAT16:
        patterns = _float16(count, data)
    elif encoding == RICE:
        patterns = _rice(parameter, count, data)
    elif encoding == MAGNITUDES:
        patterns = decode_magnitudes(count, data)
    elif encoding == BASE_MAGNITUDES:
        patterns = decode_magnitudes(count, data, exponents)
    elif encoding == BFLOAT16:
        patterns = [upper << 16 for upper in struct.unpack(f"<{count}H", data)]
    else:  # raw, or none with nothing to read
        patterns = list(struct.unpack(f"<{count}I", data))
    require(0 not in patterns, "zero-value", "a value decodes to zero")
    return patterns


def _sign(element: int, count: int, data: bytes) -> list[int]:
    magnitude = int.from_bytes(data[:4], "little")
    section = Section(data[4:])
    negative = section.fields(1, count)
    _require_padding(section)
    require(1 <= magnitude < SIGN_BIT, "magnitude", "the magnitude is not in 1..2^31-1")
    minus = magnitude | SIGN_BIT if element == FLOAT32 else 2**32 - magnitude
    return [minus if bit else magnitude for bit in negative]


def _table(size: int, count: int, data: bytes) -> list[int]:
    table = struct.unpack_from(f"<{size}I", data)
    codes = _codes(_code_width(size), count, data[4 * size :])
    require(max(codes) < size, "code", "a code lies beyond the table")
    require(table[0] > 0 and strictly_ascending(table), "table", "the table does not ascend from 1")
    return [table[code] for code in codes]


def _affine(width: int, count: int, data: bytes) -> list[int]:
    offset, step = struct.unpack_from("<2f", data)
    codes = _codes(width, count, data[8:])
    require(math.isfinite(offset) and math.isfinite(step), "value", "offset or step is not finite")
    return [float32_pattern(offset + code * step) for code in codes]


def _float16(count: int, data: bytes) -> list[int]:
    halves = struct.unpack(f"<{count}e", data)
    require(not any(map(math.isnan, halves)), "value", "a half is not a number")
    return [float32_pattern(half) for half in halves]


def _rice(k: int, count: int, data: bytes) -> list[int]:
    section = Section(data)
    try:
        symbols = [(section.field(1), section.rice(k) + 1) for _ in range(count)]
    except EndOfSection:
        raise Invalid("frame-truncated", "the value section ends within a symbol") from None
    require(section.bytes_read == len(data), "frame-trailing", "bytes follow the last value")
    _require_padding(section)
    require(section.canonical, "non-canonical", "a value is escaped that needs no escape")
    values = [-magnitude if negative else magnitude for negative, magnitude in symbols]
    require(min(values) >= -SIGN_BIT and max(values) < SIGN_BIT, "value", "a value is beyond int32")
    return [value % 2**32 for value in values]


def _codes(width: int, count: int, data: bytes) -> list[int]:
    section = Section(data)
    codes = section.fields(width, count)
    _require_padding(section)
    return codes


def _code_width(size: int) -> int:
    return (size - 1).bit_length()


def _require_padding(section: Section) -> None:
    require(section.padding_is_zero(), "padding", "an unused bit of the value section is 1")


def float32_pattern(number: float) -> int:
    """The pattern of the nearest float32, ties to even, infinity beyond the largest one."""
    try:
        data = struct.pack("<f", number)
    except OverflowError:
        data = struct.pack("<f", math.copysign(math.inf, number))
    return int.from_bytes(data, "little")
