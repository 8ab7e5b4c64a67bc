"""Positions of a frame's non-zeros, of every mask encoding, decoded from memory by address."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.np.numpy_support import carray

from tvbank.coding.decoding.blocks import decode_blocks
from tvbank.coding.decoding.gaps import decode_gaps
from tvbank.coding.decoding.memory import (
    load_16,
    load_64,
    store_32,
    uint8_pointer,
    uint32_pointer,
)
from tvbank.coding.decoding.table import (
    EXTENT,
    MASK,
    MASK_AT,
    MASK_BYTES,
    MASK_PARAMETER,
    NONZEROS,
    TAIL_BYTES,
)
from tvbank.coding.densities import run_tables
from tvbank.coding.fields import _unpack as unpack_fields
from tvbank.coding.kernel import kernel, trailing_zeros
from tvbank.coding.masks.grouped import _decode as decode_grouped
from tvbank.coding.masks.holes import _decode as decode_holes
from tvbank.coding.masks.runs import _decode as decode_runs
from tvbank.coding.sections import MASK_ENCODINGS

(_EMPTY, _FULL, _BITMAP, _INDEX, _HOLES, _RUNS, GAPS, _GROUPED, BLOCKS) = range(9)
#: Mask encodings that ``decode_positions`` knows, by id.
KNOWN_MASKS = MASK_ENCODINGS[: BLOCKS + 1]

_U = np.uint64
_ONE = _U(1)


@kernel
def ends_at(section: Any, size: Any, bits: Any) -> Any:
    """Whether a stream of ``bits`` fills a section of ``size`` bytes, its padding zero."""
    if bits < 0 or (bits + 7) // 8 != size:
        return False
    used = bits % 8
    if used == 0:
        return True
    last = load_16(section + _U(size - 1)) & _U(0xFF)
    return (last >> _U(used)) == 0


@kernel
def _decode_bitmap(section: Any, extent: Any, count: Any, out: Any) -> Any:
    """List the 1 bits among the first ``extent``; False if they are not ``count`` ones."""
    found = 0
    for first in range(0, extent, 64):
        word = load_64(section + _U(first // 8))
        if extent - first < 64:
            word &= (_ONE << _U(extent - first)) - _ONE
        while word:
            if found == count:
                return False
            store_32(out + _U(4 * found), np.uint32(_U(first) + trailing_zeros(word)))
            found += 1
            word &= word - _ONE
    return found == count


#: Kept here: who has only the address of a cached array must not depend on the cache.
_RUN_TABLES = run_tables()


def run_tables_address() -> np.uint64:
    """Where the tables lie that ``blocks`` are decoded with; they stay there."""
    return np.uint64(_RUN_TABLES.__array_interface__["data"][0])


@kernel
def decode_positions(frames: Any, row: Any, out: Any, tables: Any) -> Any:
    """Decode the positions of one frame and check the mask section.

    Args:
        frames: int64, the table of frames (see ``table``).
        row: the frame's row.
        tables: what ``run_tables_address`` returns.
        out: address of room for its non-zeros, uint32; nothing is written beyond it, whatever the
            section holds, and nothing is read beyond ``TAIL_BYTES`` behind the section.

    Returns:
        Whether the section is valid: then the positions ascend strictly and end at extent − 1.
    """
    mask, count, extent = frames[row, MASK], frames[row, NONZEROS], frames[row, EXTENT]
    parameter, size = frames[row, MASK_PARAMETER], frames[row, MASK_BYTES]
    section = _U(frames[row, MASK_AT])
    if mask == _EMPTY or count == 0:
        return mask == _EMPTY and count == 0 and size == 0
    if mask == GAPS:
        bits, behind = decode_gaps(section, _U(8 * size), parameter, count, out)
        return behind == _U(extent) and ends_at(section, size, np.int64(bits))
    positions = carray(uint32_pointer(out), count)
    if mask == _FULL:
        for index in range(count):
            positions[index] = index
        return count == extent and size == 0
    if mask == _BITMAP:
        valid = ends_at(section, size, extent) and _decode_bitmap(section, extent, count, out)
        return valid and positions[count - 1] == extent - 1
    data = carray(uint8_pointer(section), size + TAIL_BYTES)
    if mask == _INDEX:
        if not ends_at(section, size, count * parameter):
            return False
        unpack_fields(data, parameter, positions)
        for index in range(1, count):
            if positions[index] <= positions[index - 1]:
                return False
        return positions[count - 1] == extent - 1
    if mask == _HOLES:
        holes = extent - count
        if holes * (parameter + 1) > 8 * size:
            return False
        read, wrong, last = decode_holes(data, size, parameter, holes, positions)
        return not wrong and last < extent and ends_at(section, size, read)
    if mask == _RUNS:
        read, wrong, last, ones = decode_runs(data, size, parameter, extent, positions)
        if wrong or last != extent or ones != count:
            return False
        return ends_at(section, size, read)
    if mask == _GROUPED:
        groups = (extent + (1 << parameter) - 1) >> parameter
        if not ends_at(section, size, groups + count * (parameter + 1)):
            return False
        agree = decode_grouped(data, parameter, groups, positions)
        return agree and positions[count - 1] == extent - 1
    if mask == BLOCKS:
        return decode_blocks(section, size, parameter, extent, count, out, tables)
    return False
