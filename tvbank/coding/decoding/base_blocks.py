"""Positions coded given the base: runs among the entries of equal rows and equal exponents.

The entries of a class of rows and of a segment of exponent bytes are strung together; what is
coded is which of each string are not zero. The strings are decoded one by one; then the chunk is
gone through in words of 64 entries, each of which takes its bits from its strings.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.bitmap import are_many, list_ones
from tvbank.coding.decoding.coder import CLASSES, LEAST, read_block, read_classes, read_field
from tvbank.coding.decoding.decoders import RUN_TABLES_AT
from tvbank.coding.decoding.given import LANES, bytes_at_least, deposit, list_exponents
from tvbank.coding.decoding.memory import load_8, load_32, load_64, store_64
from tvbank.coding.densities import density_step
from tvbank.coding.faults import (
    MASK_PARAMETER,
    MASK_SECTION,
    NEEDS_BASE,
    NON_CANONICAL,
    POSITION,
    VALID,
)
from tvbank.coding.kernel import inlined, kernel, ones_in
from tvbank.coding.rans import SLOTS, STATE_WORDS
from tvbank.coding.segments import SEGMENTS

_U = np.uint64
_ZERO, _ONE, _TWO, _FOUR, _EIGHT, _SIXTEEN = _U(0), _U(1), _U(2), _U(4), _U(8), _U(16)
_THREE, _SIX, _SEVEN, _LAST, _WORD = _U(3), _U(6), _U(7), _U(63), _U(64)
#: Strings, and 64-bit words that each has beyond its bits.
_STRINGS: Final = CLASSES * SEGMENTS
_SLACK: Final = 3


@kernel
def _rows_of(width: Any, extent: Any) -> Any:
    return (extent + 2 * width - 2) // width


@kernel
def _words(width: Any, extent: Any) -> Any:
    """64-bit words that the decoder works in."""
    bits = 2 * (extent // 64 + 2) + _SLACK * _STRINGS
    return bits + 3 * _STRINGS + SEGMENTS + SLOTS // 2 + _rows_of(width, extent) // 8 + 2


@inlined
def _bits_at(string: Any, bit: Any) -> Any:
    """64 bits of a string from one on; 16 bytes are loaded."""
    at, within = string + (bit >> _THREE), bit & _SEVEN
    above = (load_64(at + _EIGHT) << _ONE) << (_LAST - within)
    return (load_64(at) >> within) | above


@kernel
def _visit(
    chunk: Any, exponents: Any, bounds: Any, segments: Any, classes: Any, cells: Any, strings: Any,
    ones: Any,
) -> None:  # fmt: skip
    """Go through a chunk: count the entries of each string, or take each one's bit from it.

    Args:
        chunk: (extent, entries of a row, phase), int64.
        exponents: address of the exponent byte of each entry; ``LANES`` more can be read.
        bounds: address of uint64 [segments + 1], the least exponent byte of each segment.
        segments: their number, int64.
        classes: address of the class of each row, uint8; 0 if there is one class only.
        cells: address of uint64 [classes, segments], where entries are counted.
        strings: address of the bit that each string is at, uint64 [classes, segments], counted
            from the address ``ones``; or None, to count.
        ones: address of the bitmap that is filled, bit p for position p; the strings follow it.
    """
    extent, width, phase = chunk
    position: Any = 0
    row: Any = 0
    next_row: Any = width - phase
    while position < extent:
        stop = min(min(next_row, extent), (position & ~63) + 64)
        count = _U(stop - position)
        left = (~_ZERO) >> (_WORD - count)
        number = np.int64(0)
        if classes:
            number = np.int64(load_8(classes + _U(row))) * segments
        word = _ZERO
        for segment in range(segments):
            mask = left
            if segment + 1 < segments:
                bound = load_64(bounds + _U(8 * (segment + 1)))
                left &= bytes_at_least(exponents + _U(position), bound)
                mask &= ~left
            if mask:
                at = _U(8 * (number + segment))
                if strings is None:
                    store_64(cells + at, load_64(cells + at) + ones_in(mask))
                else:
                    bit = load_64(strings + at)
                    word |= deposit(_bits_at(ones, bit), mask)
                    store_64(strings + at, bit + ones_in(mask))
        if strings is not None:
            place = ones + _U(8 * (position >> 6))
            store_64(place, load_64(place) | (word << _U(position & 63)))
        position = stop
        if position == next_row:
            row += 1
            next_row += width


@kernel
def _mark(
    section: Any,
    size: Any,
    width: Any,
    extent: Any,
    count: Any,
    tables: Any,
    exponents: Any,
    scratch: Any,
) -> Any:
    """Decode a section to a bitmap at ``scratch``, bit p for position p; returns a code."""
    if size % 2 or size < 2 * STATE_WORDS:
        return MASK_SECTION
    words, end, at = section, _U(size // 2), _U(STATE_WORDS)
    mapped = extent // 64 + 2
    ones = scratch
    cells = scratch + _U(8 * (2 * mapped + _SLACK * _STRINGS))
    strings = cells + _U(8 * _STRINGS)
    bounds = strings + _U(8 * _STRINGS)
    table = bounds + _U(8 * (SEGMENTS + 1))
    classes = table + _U(4 * SLOTS)
    u, x = _U(load_32(section)), _U(load_32(section + _U(4)))
    y, z = _U(load_32(section + _U(8))), _U(load_32(section + _U(12)))
    phase, u, at = read_field(u, _SIXTEEN, words, at)
    if at > end:
        return MASK_SECTION
    heights, x, at = read_field(x, _FOUR, words, at)
    if at > end:
        return MASK_SECTION
    widths, y, at = read_field(y, _FOUR, words, at)
    if at > end:
        return MASK_SECTION
    if phase >= _U(width):
        return MASK_PARAMETER
    x, y, z, u = z, u, x, y
    row_classes, segments = np.int64(heights) + 1, np.int64(widths) + 1
    store_64(bounds, _ZERO)
    for segment in range(1, segments):
        bound, x, at = read_field(x, _EIGHT, words, at)
        x, y, z, u = y, z, u, x
        if at > end:
            return MASK_SECTION
        if bound <= load_64(bounds + _U(8 * (segment - 1))):
            return MASK_PARAMETER
        store_64(bounds + _U(8 * segment), bound)
    rows = (np.int64(phase) + extent + width - 1) // width
    if row_classes > 1:
        x, y, z, u, at, shared = read_classes(
            x, y, z, u, at, end, words, row_classes, rows, table, classes
        )
        if at > end or not shared:
            return MASK_SECTION if at > end else MASK_PARAMETER
    else:
        classes = _ZERO
    chunk = (extent, width, np.int64(phase))
    for string in range(row_classes * segments):
        store_64(cells + _U(8 * string), _ZERO)
    _visit(chunk, exponents, bounds, segments, classes, cells, None, ones)
    bit = _U(64 * mapped)
    for string in range(row_classes * segments):
        store_64(strings + _U(8 * string), bit)
        bit += ((load_64(cells + _U(8 * string)) >> _SIX) + _TWO) << _SIX
    for index in range(np.int64(bit >> _SIX) + 1):
        store_64(ones + _U(8 * index), _ZERO)
    runs = tables + _U(RUN_TABLES_AT)
    total = _ZERO
    beyond = False
    for string in range(row_classes * segments):
        inside = load_64(cells + _U(8 * string))
        bits = _ZERO
        while inside >> bits:
            bits += _ONE
        low, x, at = read_field(x, min(bits, _SIXTEEN), words, at)
        x, y, z, u = y, z, u, x
        if at > end:
            return MASK_SECTION
        high = _ZERO
        if bits > _SIXTEEN:
            high, x, at = read_field(x, bits - _SIXTEEN, words, at)
            x, y, z, u = y, z, u, x
            if at > end:
                return MASK_SECTION
        here = low | (high << _SIXTEEN)
        if here == _ZERO:
            continue
        total += here
        if here > inside:
            beyond = True  # the fault is named when the section has been read to its end
            here = inside
        if here == _ZERO:
            continue
        number, unit = density_step(np.int64(here), np.int64(inside))
        block = (inside, inside, _ZERO, _ZERO, _ZERO)
        string_at = ones + (load_64(strings + _U(8 * string)) >> _THREE)
        x, y, z, u, at, after = read_block(
            x, y, z, u, at, end, words, runs + _U(4 * SLOTS * number), _U(unit), here, block,
            string_at, None,
        )  # fmt: skip
        if at > end:
            return MASK_SECTION
        beyond |= after > inside
    if at != end:
        return MASK_SECTION
    if x != LEAST or y != LEAST or z != LEAST or u != LEAST:
        return NON_CANONICAL
    if beyond or total != _U(count):
        return POSITION
    _visit(chunk, exponents, bounds, segments, classes, cells, strings, ones)
    last = _U(extent - 1)
    if not (load_64(ones + ((last >> _SIX) << _THREE)) >> (last & _LAST)) & _ONE:
        return POSITION
    # The words of the strings come after those of the chunk, which the list ends in.
    return VALID


def decode_base_blocks(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    """The decoder of ``base-blocks``; see ``decoders``."""
    upper, shift = load_64(given), load_64(given + _EIGHT)
    if upper == _ZERO:
        return 1 + NEEDS_BASE
    exponents = np.empty(extent + LANES, np.uint8)
    list_exponents(upper, shift, extent, exponents)
    scratch = np.empty(_words(parameter, extent), np.uint64)
    bytes_at, ones = _U(exponents.ctypes.data), _U(scratch.ctypes.data)
    code = _mark(section, size, parameter, extent, count, tables, bytes_at, ones)
    if not code:
        list_ones(ones, 0, _ZERO, 0, count, count, out, are_many(count, extent))
    return (
        1 + code + 0 * (scratch.size + exponents.size)
    )  # uses the arrays once more, so that numba keeps their memory until here
