"""Weighted sums of tasks, lossy or exact, all frames of a chunk in one loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.decoding.elements import (
    ADD_STEPS,
    FLOAT32,
    KINDS,
    SHIFTS,
    entry_of,
    load_weight,
)
from tvbank.coding.decoding.memory import float_of, load_8, load_32, pattern_of, store_32
from tvbank.coding.decoding.patterns import SIGN, decode_patterns, sign_magnitude
from tvbank.coding.decoding.positions import decode_positions, run_tables_address
from tvbank.coding.decoding.table import (
    EXTENT,
    NONZEROS,
    VALUES,
    VALUES_AT,
    Batch,
    address_of,
    batch_of,
    give_base,
)
from tvbank.coding.faults import raise_stopped
from tvbank.coding.kernel import kernel

_U, _U32 = np.uint64, np.uint32
_TWO, _FOUR = _U(2), _U(4)


def sum_at_once(
    base: NDArray[Any],
    weights: NDArray[np.float32],
    frames: Sequence[bytes],
    length: int,
    *,
    is_float: bool,
) -> NDArray[Any] | None:
    """The sum that ``WeightedSum`` computes, bit for bit, if nothing is wrong.

    Args:
        base: the base's weights of a chunk, [n].
        weights: float32 [k].
        frames: k frames of the chunk, without checksums.
        length: entries of a whole chunk.
        is_float: whether they are of lossy tasks, float32; else of exact ones, int32.

    Returns:
        The sum in the base's element type; ``None`` if a frame violates the format, or a weight is
        not finite: then ``WeightedSum`` says which.
    """
    batch = batch_of(frames, length, is_float)
    if batch is None:
        return None
    total = base.astype(np.float32)
    scratch = np.empty(2 * int(batch.nonzeros.max(initial=0)), np.uint32)
    if _add(batch, weights, base, total, scratch, is_float) >= 0:
        raise_stopped()
        return None
    with np.errstate(over="ignore"):
        rounded = total.astype(base.dtype, copy=False)
    return rounded if np.isfinite(rounded).all() else None


def _add(
    batch: Batch,
    weights: NDArray[np.float32],
    base: NDArray[Any],
    total: NDArray[np.float32],
    scratch: NDArray[np.uint32],
    is_float: bool,
) -> int:
    """The first frame at fault, or −1."""
    places = address_of(total), address_of(scratch), run_tables_address()
    if is_float:
        return int(_add_frames(batch.table, weights, total.size, *places))
    start = np.ascontiguousarray(base)
    kind = KINDS.index(base.dtype.name)
    at = address_of(start)
    give_base(batch.table, int(at), start.dtype.itemsize)
    fault = int(_add_steps(batch.table, weights, total.size, kind, at, *places))
    return (
        fault + 0 * start.size
    )  # used after the loop, or numba would release the memory before it


@kernel
def _add_to(place: Any, entry: Any) -> None:
    store_32(place, pattern_of(float_of(load_32(place)) + float_of(entry)))


@kernel
def _add_frames(
    frames: Any, weights: Any, size: Any, totals: Any, scratch: Any, tables: Any
) -> Any:
    """Add weight times entry of float32 frames, one frame after the other.

    No frame can make this read or write elsewhere: positions ascend up to the extent, which is
    compared with the chunk's size before a total is touched.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        weights: float32 [rows].
        size: entries of the chunk that there are totals of.
        totals: their address, float32.
        scratch: address of memory for two uint32 for each non-zero of the largest frame.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec or reaches beyond ``size``, or −1.
    """
    for row in range(len(frames)):
        count, weight = frames[row, NONZEROS], weights[row]
        if frames[row, EXTENT] > size or decode_positions(frames, row, scratch, tables):
            return row
        if frames[row, VALUES] == SIGN:
            magnitude = sign_magnitude(frames, row)
            if magnitude == 0:
                return row
            entry = pattern_of(weight * float_of(magnitude))
            signs = _U(frames[row, VALUES_AT]) + _FOUR
            for index in range(count):
                place = totals + (_U(load_32(scratch + _U(4 * index))) << _TWO)
                sign = (_U32(load_8(signs + _U(index >> 3))) >> _U32(index & 7)) << _U32(31)
                _add_to(place, _U32(entry ^ _U32(sign)))
            continue
        patterns = scratch + _U(4 * count)
        if decode_patterns(frames, row, True, patterns, tables):
            return row
        for index in range(count):
            place = totals + (_U(load_32(scratch + _U(4 * index))) << _TWO)
            entry = pattern_of(weight * float_of(load_32(patterns + _U(4 * index))))
            _add_to(place, entry)
    return -1


@kernel
def _add_steps(
    frames: Any, weights: Any, size: Any, kind: Any, base: Any, totals: Any, scratch: Any,
    tables: Any,
) -> Any:  # fmt: skip
    """The same of int32 frames, whose steps lead from the base's weights to others.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        weights: float32 [rows].
        size: entries of the chunk that there are totals of.
        kind: element type of the base, an index into ``KINDS``.
        base: address of its weights of the chunk.
        totals: their address, float32.
        scratch: address of memory for two uint32 for each non-zero of the largest frame.
        tables: what ``run_tables_address`` returns.

    Returns:
        The first row that violates the spec or reaches beyond ``size``, or −1.
    """
    shift = SHIFTS[kind]
    for row in range(len(frames)):
        count, weight = frames[row, NONZEROS], weights[row]
        if frames[row, EXTENT] > size or decode_positions(frames, row, scratch, tables):
            return row
        patterns = scratch + _U(4 * count)
        if decode_patterns(frames, row, False, patterns, tables):
            return row
        if kind == FLOAT32:
            for index in range(count):
                place = _U(load_32(scratch + _U(4 * index))) << _TWO
                steps, start = load_32(patterns + _U(4 * index)), load_32(base + place)
                added = weight * entry_of(FLOAT32, ADD_STEPS, start, steps)
                _add_to(totals + place, pattern_of(added))
            continue
        for index in range(count):
            position = _U(load_32(scratch + _U(4 * index)))
            steps = load_32(patterns + _U(4 * index))
            start = load_weight(shift, base + (position << shift))
            added = weight * entry_of(kind, ADD_STEPS, start, steps)
            _add_to(totals + (position << _TWO), pattern_of(added))
    return -1
