"""Frames made quick: masks that are slow to decode are coded anew as gaps, once.

The smallest mask encodings decode at a quarter of the speed of gaps, which take a few per cent
more bytes. A task that stays in memory to be applied again and again is better off with gaps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.memory import load_32, load_64, store_64
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import BLOCKS, GAPS, decode_positions
from tvbank.coding.decoding.table import (
    EXTENT,
    MASK,
    MASK_AT,
    MASK_BYTES,
    MASK_PARAMETER,
    NONZEROS,
    TAIL_BYTES,
    VALUE_BYTES,
    VALUES_AT,
)
from tvbank.coding.encoding import MASK_RICE_LIMIT
from tvbank.coding.kernel import kernel

_U = np.uint64
_ONE, _EIGHT, _ESCAPE, _WORD_BITS = _U(1), _U(8), _U(24), _U(64)
#: Most bytes of a gap; and what the words that end a stream or a copy may take beyond it.
_GAP_BYTES, _SLACK = 7, 8


def packed_limit(frames: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bytes that each row of a table of frames needs, at most, in the output of ``pack_frames``."""
    masks = np.where(
        frames[:, MASK] == BLOCKS, _GAP_BYTES * frames[:, NONZEROS], frames[:, MASK_BYTES]
    )
    return masks + frames[:, VALUE_BYTES] + 2 * _SLACK + TAIL_BYTES


@kernel
def _copy(source: Any, size: Any, target: Any) -> None:
    """Copy whole words: up to 7 bytes more are read and written."""
    for first in range(0, size, 8):
        store_64(target + _U(first), load_64(source + _U(first)))


@kernel
def _best_parameter(count: Any, extent: Any) -> Any:
    """The k of the fewest bits for ``count`` gaps, if they are geometric."""
    zeros = extent - count
    best, least = 0, zeros
    for k in range(1, MASK_RICE_LIMIT + 1):
        bits = count * k + (zeros >> k)
        if bits < least:
            best, least = k, bits
    return best


@kernel
def _gap_code(gap: Any, k: Any) -> Any:
    """(code, bits) of a gap: a Rice symbol (spec/frame.md, "Rice symbols")."""
    quotient = gap >> k
    if quotient < _ESCAPE:
        low = gap & ((_ONE << k) - _ONE)
        return ((low << _ONE) | _ONE) << quotient, quotient + k + _ONE
    return gap << _ESCAPE, _ESCAPE + _U(32)


@kernel
def _encode(positions: Any, count: Any, parameter: Any, target: Any) -> Any:
    """Write gaps; returns their bits. Up to 7 bytes after the last one are written."""
    k = _U(parameter)
    pending = filled = bits = next_one = _U(0)
    for index in range(count):
        position = _U(load_32(positions + _U(4 * index)))
        code, length = _gap_code(position - next_one, k)
        next_one = position + _ONE
        bits += length
        pending |= code << filled
        if filled + length >= _WORD_BITS:
            store_64(target, pending)
            target += _EIGHT
            # A symbol has at most 56 bits, so that some of the word were filled before.
            pending = code >> (_WORD_BITS - filled)
            filled = filled + length - _WORD_BITS
        else:
            filled += length
    store_64(target, pending)
    return np.int64(bits)


@kernel
def pack_frames(
    frames: Any, first: Any, last: Any, is_float: Any, target: Any, scratch: Any, tables: Any
) -> Any:
    """Copy the sections of frames, one after the other, and make slow masks quick.

    Every frame is decoded and checked; as in ``apply_frames`` none can make this read or write
    elsewhere.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``]; overwritten with what describes the copies.
        first: the first row.
        last: the row after the last.
        is_float: whether the elements are float32; else they are int32.
        target: address of as many bytes as ``packed_limit`` adds up to.
        scratch: address of memory for the non-zeros of the largest row, uint32.
        tables: what ``run_tables_address`` returns.

    Returns:
        (−1, bytes written), ``TAIL_BYTES`` at their end included; or (row, 0) for the first row
        that violates the spec.
    """
    start = target
    for row in range(first, last):
        count = frames[row, NONZEROS]
        if decode_patterns(frames, row, is_float, scratch, tables):
            return row, 0
        if decode_positions(frames, row, scratch, tables):
            return row, 0
        if frames[row, MASK] == BLOCKS:
            parameter = _best_parameter(count, frames[row, EXTENT])
            size = (_encode(scratch, count, parameter, target) + 7) // 8
            frames[row, MASK], frames[row, MASK_PARAMETER] = GAPS, parameter
            frames[row, MASK_BYTES] = size
        else:
            size = frames[row, MASK_BYTES]
            _copy(_U(frames[row, MASK_AT]), size, target)
        frames[row, MASK_AT] = np.int64(target)
        target += _U(size)
        _copy(_U(frames[row, VALUES_AT]), frames[row, VALUE_BYTES], target)
        frames[row, VALUES_AT] = np.int64(target)
        target += _U(frames[row, VALUE_BYTES])
    store_64(target, _U(0))
    return -1, np.int64(target + _U(TAIL_BYTES) - start)
