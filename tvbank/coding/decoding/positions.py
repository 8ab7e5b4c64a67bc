"""Positions of a frame's non-zeros, of every mask encoding, decoded from memory by address."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.base_blocks import decode_base_blocks
from tvbank.coding.decoding.bitmap import are_many, list_ones
from tvbank.coding.decoding.blocks import decode_blocks
from tvbank.coding.decoding.decoders import Decoder, call_decoder, enter
from tvbank.coding.decoding.decoders import run_tables_address as run_tables_address
from tvbank.coding.decoding.gaps import (
    NEEDLESS,
    is_non_canonical,
    next_gaps,
    quad_limit,
    read_symbol,
)
from tvbank.coding.decoding.memory import (
    load_8,
    load_64,
    load_bits,
    store_32,
    uint8_pointer,
    uint32_pointer,
)
from tvbank.coding.decoding.table import (
    EXTENT,
    FRAME_COLUMNS,
    GIVEN,
    MASK,
    MASK_AT,
    MASK_BYTES,
    MASK_PARAMETER,
    NONZEROS,
    POSITIONS_AT,
    TAIL_BYTES,
)
from tvbank.coding.faults import MASK_SECTION, NON_CANONICAL, PADDING, POSITION, VALID
from tvbank.coding.kernel import bits_from, carray, kernel, ones_in, trailing_zeros
from tvbank.coding.masks import MASKS

_U = np.uint64
_ONE, _THREE = _U(1), _U(3)
GAPS: Final = next(mask.id for mask in MASKS if mask.name == "gaps")
BLOCKS: Final = next(mask.id for mask in MASKS if mask.name == "blocks")


@kernel
def stream_code(section: Any, size: Any, bits: Any, short: Any, long: Any) -> Any:
    """What is wrong with a section that a stream of ``bits`` bits is to fill, or 0.

    Args:
        section: its address.
        size: its bytes.
        bits: bits that were read, or would be.
        short: the code for a section that is too short.
        long: the code for bytes that are left over.
    """
    if bits > 8 * size:
        return short
    if (bits + 7) // 8 < size:
        return long
    used = bits % 8
    if used and _U(load_8(section + _U(size - 1))) >> _U(used):
        return PADDING
    return VALID


@kernel
def unpack(section: Any, size: Any, first_bit: Any, width: Any, fields: Any) -> None:
    """Read fields of 0 to 24 bits, as many as ``fields`` (uint32) has places for.

    By arrays, not by address: so LLVM sees that nothing overlaps, and reads several at once.

    Args:
        section: its address; ``TAIL_BYTES`` follow it.
        size: its bytes, which hold the fields.
        first_bit: where they begin.
        width: bits of each.
        fields: overwritten.
    """
    data = carray(uint8_pointer(section), size + TAIL_BYTES)
    step, bit = _U(width), _U(first_bit)
    mask = (_ONE << step) - _ONE
    for index in range(fields.size):
        fields[index] = np.uint32(bits_from(data, bit) & mask)
        bit += step


def _empty(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    return 1 + (MASK_SECTION if size else VALID)


def _full(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    if size:
        return 1 + MASK_SECTION
    positions = carray(uint32_pointer(out), count)
    for index in range(count):
        positions[index] = index
    return 1 + VALID


def _bitmap(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = stream_code(section, size, extent, MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    ones = _U(0)
    for index in range(extent >> 6):
        ones += ones_in(load_64(section + _U(8 * index)))
    # The last word also has bits of what follows the section: they are not counted.
    rest = _U(0)
    if extent & 63:
        rest = load_64(section + _U(8 * (extent >> 6))) & ((_ONE << _U(extent & 63)) - _ONE)
    last = (_U(load_8(section + _U((extent - 1) // 8))) >> _U((extent - 1) % 8)) & _ONE
    if ones + ones_in(rest) != _U(count) or not last:
        return 1 + POSITION
    listed = np.int64(ones)
    list_ones(section, 0, _U(0), 0, listed, listed, out, are_many(count, extent))
    while rest:
        store_32(out + _U(4 * listed), np.uint32(_U(extent & ~63) + trailing_zeros(rest)))
        listed += 1
        rest &= rest - _ONE
    return 1 + VALID


def _index(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    code = stream_code(section, size, count * parameter, MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    positions = carray(uint32_pointer(out), count)
    unpack(section, size, 0, parameter, positions)
    drops: Any = 0
    for index in range(1, count):
        drops += positions[index] <= positions[index - 1]
    return 1 + (VALID if drops == 0 and positions[count - 1] == extent - 1 else POSITION)


def _holes(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    positions = carray(uint32_pointer(out), count)
    k = _U(parameter)
    bit, end = _U(0), _U(8 * size)
    position = done = 0
    needless = False
    for _ in range(extent - count):
        if bit >= end:
            return 1 + MASK_SECTION
        value, bits = read_symbol(load_bits(section, bit), k)
        needless |= is_non_canonical(value, bits, k)
        bit += bits
        ones: Any = np.int64(value)
        if ones <= count - done:
            for one in range(ones):
                positions[done + one] = np.uint32(position + one)
            done += ones
        position += ones + 1
    rest = position - done
    for index in range(done, count):
        positions[index] = np.uint32(rest + index)
    code = stream_code(section, size, np.int64(bit), MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    if needless:
        return 1 + NON_CANONICAL
    return 1 + (VALID if position < extent else POSITION)


def _runs(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    positions = carray(uint32_pointer(out), count)
    k, next_k = _U(parameter % 256), _U(parameter // 256)
    bit, end = _U(0), _U(8 * size)
    position = ones = least = np.int64(0)
    needless = is_ones = False
    while position < extent or is_ones:
        if bit >= end:
            return 1 + MASK_SECTION
        value, bits = read_symbol(load_bits(section, bit), k)
        needless |= is_non_canonical(value, bits, k)
        bit += bits
        length: Any = np.int64(value) + least
        least = np.int64(1)  # only the first run may be of no entries
        if is_ones:
            if length <= count - ones:
                for one in range(length):
                    positions[ones + one] = np.uint32(position + one)
            ones += length
        k, next_k = next_k, k
        is_ones = not is_ones
        position += length
    code = stream_code(section, size, np.int64(bit), MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    if needless:
        return 1 + NON_CANONICAL
    return 1 + (VALID if position == extent and ones == count else POSITION)


def _gaps(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    k, end = _U(parameter), _U(8 * size)
    bit, twice = next_gaps(section, _U(0), end, _U(0), k, quad_limit(parameter), count, out, None)
    code = stream_code(section, size, np.int64(bit), MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    if twice & NEEDLESS:
        return 1 + NON_CANONICAL
    return 1 + (VALID if twice >> _ONE == _U(extent) else POSITION)


@kernel
def _next_group(section: Any, group: Any, groups: Any) -> Any:
    """The first flagged group from ``group`` on; ``groups`` or more if there is none."""
    while group < groups:
        word = load_bits(section, group)
        if word:
            return group + trailing_zeros(word)
        group += _U(64) - (group & _U(7))
    return group


def _grouped(
    section: Any, size: Any, parameter: Any, extent: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    number = (extent + (1 << parameter) - 1) >> parameter
    needed = number + count * (parameter + 1)
    code = stream_code(section, size, needed, MASK_SECTION, MASK_SECTION)
    if code:
        return 1 + code
    bits, groups = _U(parameter), _U(number)
    low = (_ONE << bits) - _ONE
    bit = groups
    group = _next_group(section, _U(0), groups)
    least = _U(0)
    position = _U(0)
    for index in range(count):
        if group >= groups:
            return 1 + POSITION
        field = load_bits(section, bit)
        bit += bits + _ONE
        within = field & low
        if within < least:
            return 1 + POSITION
        position = (group << bits) | within
        store_32(out + _U(4 * index), np.uint32(position))
        if (field >> bits) & _ONE:
            group = _next_group(section, group + _ONE, groups)
            least = _U(0)
        else:
            least = within + _ONE
    return 1 + (VALID if group >= groups and position == _U(extent - 1) else POSITION)


#: The decoder of each mask encoding, by id.
MASK_DECODERS: Final[tuple[Decoder, ...]] = (
    _empty, _full, _bitmap, _index, _holes, _runs, _gaps, _grouped, decode_blocks,
    decode_base_blocks,
)  # fmt: skip
enter(0, MASK_DECODERS)


@kernel
def given_of(frames: Any, row: Any) -> Any:
    """Where a decoder finds what it is given: the address of the row's ``GIVEN`` and on."""
    return _U(frames.ctypes.data) + _U(8 * (FRAME_COLUMNS * row + GIVEN))


@kernel
def decode_positions(frames: Any, row: Any, out: Any, tables: Any) -> Any:
    """Decode the positions of one frame and check the mask section.

    Args:
        frames: int64, the table of frames (see ``table``); its header was valid.
        row: the frame's row.
        out: address of memory for its non-zeros, uint32; nothing is written beyond it, whatever
            the section holds, and nothing is read beyond ``TAIL_BYTES`` after the section. The
            row's ``POSITIONS_AT`` becomes this address.
        tables: what ``run_tables_address`` returns.

    Returns:
        0 if the section is valid: then the positions ascend strictly and end at extent − 1. Else
        the code of the fault (see ``faults``); −1 if there was not enough memory, and
        ``NEEDS_BASE`` if the frame is to be given the base and the row has none.
    """
    decoder = load_64(tables + (_U(frames[row, MASK]) << _THREE))
    frames[row, POSITIONS_AT] = np.int64(out)
    return (
        call_decoder(
            decoder, _U(frames[row, MASK_AT]), frames[row, MASK_BYTES], frames[row, MASK_PARAMETER],
            frames[row, EXTENT], frames[row, NONZEROS], out, tables, given_of(frames, row),
        ) - 1
    )  # fmt: skip
