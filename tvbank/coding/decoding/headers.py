"""The headers of many frames at once, as rows of the table of frames."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.memory import load_8, load_16, load_32
from tvbank.coding.decoding.table import (
    EXTENT,
    MASK,
    MASK_AT,
    MASK_BYTES,
    MASK_PARAMETER,
    NONZEROS,
    VALUE_BYTES,
    VALUE_PARAMETER,
    VALUES,
    VALUES_AT,
)
from tvbank.coding.header import ELEMENTS, FRAME_VERSION, HEADER_BYTES, MAX_ENTRIES
from tvbank.coding.kernel import kernel
from tvbank.coding.sections import (
    AFFINE_LIMIT,
    GREATEST_WIDTH,
    GROUP_LIMIT,
    LEAST_WIDTH,
    MASK_ENCODINGS,
    MASK_RICE_LIMIT,
    TABLE_LIMIT,
    VALUE_ENCODINGS,
    VALUE_RICE_LIMIT,
)

_U = np.uint64
_FLOAT32 = ELEMENTS.index("float32")
(_EMPTY, _FULL, _BITMAP, _INDEX, _HOLES, _RUNS, _GAPS, _GROUPED, _BLOCKS) = range(9)
(_NONE, _SIGN, _TABLE, _AFFINE, _FLOAT16, _BFLOAT16, _RAW, _RICE) = range(8)
_MASKS, _VALUES = len(MASK_ENCODINGS), len(VALUE_ENCODINGS)


@kernel
def _mask_allowed(mask: Any, parameter: Any, extent: Any, count: Any, size: Any) -> Any:
    """Whether the parameter, and the size of the section where it is known, fit the mask."""
    if mask == _INDEX:
        bits = 0
        while (extent - 1) >> bits:
            bits += 1
        return parameter == bits and size == (count * bits + 7) // 8
    if mask == _GROUPED:
        if not 1 <= parameter <= GROUP_LIMIT:
            return False
        groups = (extent + (1 << parameter) - 1) >> parameter
        return size == (groups + count * (parameter + 1) + 7) // 8
    if mask in (_HOLES, _GAPS):
        return parameter <= MASK_RICE_LIMIT
    if mask == _RUNS:
        return parameter % 256 <= MASK_RICE_LIMIT and parameter // 256 <= MASK_RICE_LIMIT
    if mask == _BLOCKS:
        return LEAST_WIDTH <= parameter <= GREATEST_WIDTH
    return parameter == 0 and size == ((extent + 7) // 8 if mask == _BITMAP else 0)


@kernel
def _values_allowed(values: Any, parameter: Any, is_float: Any) -> Any:
    """Whether an encoding with this parameter is for values of this element type."""
    if values == _TABLE:
        return 1 <= parameter <= TABLE_LIMIT
    if values == _AFFINE:
        return is_float and 1 <= parameter <= AFFINE_LIMIT
    if values == _RICE:
        return not is_float and parameter <= VALUE_RICE_LIMIT
    if values in (_FLOAT16, _BFLOAT16):
        return is_float and parameter == 0
    return parameter == 0


@kernel
def read_headers(
    shard: Any, starts: Any, stops: Any, entries: Any, is_float: Any, table: Any
) -> Any:
    """Read and check the headers of frames.

    Args:
        shard: address of the bytes that the frames lie in.
        starts: int64 [frames], where each begins in the shard.
        stops: int64 [frames], where each ends.
        entries: length of a chunk.
        is_float: whether the elements are float32; else they are int32.
        table: int64 [frames, ``FRAME_COLUMNS``], overwritten.

    Returns:
        Whether every header is one that ``read_header`` accepts, of this element type, whose mask
        section ends within the frame.
    """
    for row in range(len(starts)):
        size = stops[row] - starts[row]
        if size < HEADER_BYTES:
            return False
        at = shard + _U(starts[row])
        mask, values = np.int64(load_8(at + _U(2))), np.int64(load_8(at + _U(3)))
        parameter, second = np.int64(load_16(at + _U(4))), np.int64(load_16(at + _U(6)))
        n, e = np.int64(load_32(at + _U(8))), np.int64(load_32(at + _U(12)))
        m, mask_bytes = np.int64(load_32(at + _U(16))), np.int64(load_32(at + _U(20)))
        if load_8(at) != FRAME_VERSION or (load_8(at + _U(1)) == _FLOAT32) != is_float:
            return False
        if load_8(at + _U(1)) >= len(ELEMENTS) or mask >= _MASKS or values >= _VALUES:
            return False
        if n != entries or n < 1 or n > MAX_ENTRIES or e > n or m > e:
            return False
        empty = mask == _EMPTY
        if (values == _NONE) != empty or (m == 0) != empty or (e == 0) != empty:
            return False
        if mask == _FULL and m != e:
            return False
        if not _values_allowed(values, second, is_float):
            return False
        if not _mask_allowed(mask, parameter, e, m, mask_bytes):
            return False
        if HEADER_BYTES + mask_bytes > size:
            return False
        mask_at = np.int64(at) + HEADER_BYTES
        table[row, MASK], table[row, VALUES] = mask, values
        table[row, MASK_PARAMETER], table[row, VALUE_PARAMETER] = parameter, second
        table[row, EXTENT], table[row, NONZEROS] = e, m
        table[row, MASK_AT], table[row, MASK_BYTES] = mask_at, mask_bytes
        table[row, VALUES_AT] = mask_at + mask_bytes
        table[row, VALUE_BYTES] = size - HEADER_BYTES - mask_bytes
    return True
