"""Tasks onto the weights: decode a frame, add its entries, keep what they replace.

Entries of float32 weights go through a pipeline in steps of sixteen: decode positions and ask for
their cache lines; some steps later copy the old weights to the record; some steps later still add
sixteen values at once and write the sums. So neither a cache miss nor a store that is
read again too soon holds up the decoder. Blocks ask for the lines twice: while they are marked,
in no order, which brings a chunk into the second-level cache, and here, to be written soon.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.bitmap import are_many, list_ones
from tvbank.coding.decoding.blocks import blocks_words, mark_blocks
from tvbank.coding.decoding.elements import (
    ADD,
    FLOAT32,
    SHIFTS,
    load_weight,
    moved,
    store_weight,
)
from tvbank.coding.decoding.gaps import next_gaps, quad_limit
from tvbank.coding.decoding.memory import (
    LANES,
    add_floats,
    add_signed,
    float_of,
    load_16,
    load_32,
    pattern_of,
    prefetch,
    store_32,
    store_64,
    take_ticket,
)
from tvbank.coding.decoding.patterns import SIGN, decode_patterns, sign_magnitude
from tvbank.coding.decoding.positions import BLOCKS, GAPS, decode_positions, stream_code
from tvbank.coding.decoding.table import (
    EXTENT,
    FIRST,
    FIRST_OLD,
    KIND,
    LAST,
    LAST_OLD,
    LAST_ORDER,
    MASK,
    MASK_AT,
    MASK_BYTES,
    MASK_PARAMETER,
    NO_MORE,
    NONZEROS,
    OLD,
    ORDER,
    SLOT,
    VALUES,
    VALUES_AT,
    WEIGHTS_AT,
)
from tvbank.coding.kernel import kernel
from tvbank.switching.loops.restore import restore_until

#: What may be wrong with a frame: it violates the spec; a sum is not finite.
INVALID, NOT_FINITE = 1, 2

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _FOUR = _U(1), _U(2), _U(4)
#: Entries that go through the pipeline together, and that lie between its two ends.
_BLOCK, _AHEAD = 64, 64
_INFINITY = _U32(0x7F800000)


@kernel
def _multiply(patterns: Any, count: Any, weight: Any) -> None:
    """Multiply float32 patterns at an address."""
    for index in range(count):
        at = patterns + _U(4 * index)
        store_32(at, pattern_of(weight * float_of(load_32(at))))


@kernel
def _fetch(positions: Any, weights: Any) -> None:
    """Ask for the cache lines of a block of positions."""
    for index in range(_BLOCK):
        prefetch(weights + (_U(load_32(positions + _U(4 * index))) << _TWO))


@kernel
def _add_block(positions: Any, weights: Any, old: Any, values: Any, first: Any, new: Any) -> Any:
    """Add a block of values, those from ``first`` on, to the weights at some positions.

    ``values`` is (address, whether these are signs, the magnitude of signs).
    """
    for index in range(_BLOCK):
        at = _U(4 * index)
        store_32(old + at, load_32(weights + (_U(load_32(positions + at)) << _TWO)))
    address, signed, magnitude = values
    infinite = _U32(0)
    for step in range(0, _BLOCK, LANES):
        at = _U(4 * step)
        if signed:
            signs = _U32(load_16(address + _U((first + step) >> 3)))
            infinite |= add_signed(signs, magnitude, old + at, new + at)
        else:
            infinite |= add_floats(address + _U(4 * first) + at, old + at, new + at)
    for index in range(_BLOCK):
        at = _U(4 * index)
        store_32(weights + (_U(load_32(positions + at)) << _TWO), load_32(new + at))
    return infinite


@kernel
def _add_rest(first: Any, count: Any, positions: Any, weights: Any, old: Any, values: Any) -> Any:
    """Add the last values, fewer than sixteen."""
    at, signed, magnitude = values
    infinite = False
    for index in range(first, count):
        place = weights + (_U(load_32(positions + _U(4 * index))) << _TWO)
        before = load_32(place)
        store_32(old + _U(4 * index), before)
        if signed:
            sign = (_U32(load_16(at + _U(index >> 3))) >> _U32(index & 7)) << _U32(31)
            value = _U32(magnitude ^ _U32(sign))
        else:
            value = load_32(at + _U(4 * index))
        after = pattern_of(float_of(before) + float_of(value))
        store_32(place, after)
        infinite |= (after & _INFINITY) == _INFINITY
    return infinite


@kernel
def _add_all(
    frames: Any, row: Any, positions: Any, weights: Any, old: Any, values: Any, new: Any,
    ones: Any, tables: Any,
) -> Any:  # fmt: skip
    """The pipeline, for float32; returns (fault or 0, number of old weights in the record)."""
    count, extent = frames[row, NONZEROS], _U(frames[row, EXTENT])
    section, size = _U(frames[row, MASK_AT]), frames[row, MASK_BYTES]
    end, k = _U(8 * size), _U(frames[row, MASK_PARAMETER])
    limit = quad_limit(frames[row, MASK_PARAMETER])
    coded, marked = frames[row, MASK] == GAPS, frames[row, MASK] == BLOCKS
    phase = _U(0)
    many = are_many(count, frames[row, EXTENT])
    if marked:
        code, phase = mark_blocks(
            section, size, frames[row, MASK_PARAMETER], frames[row, EXTENT], count, tables, ones,
            weights,
        )  # fmt: skip
        if code:
            return INVALID, 0
    elif not coded and decode_positions(frames, row, positions, tables):
        return INVALID, 0
    bit = twice = _U(0)
    added = word = listed = 0
    infinite = _U32(0)
    whole = count - count % _BLOCK
    for first in range(0, whole, _BLOCK):
        at = positions + _U(4 * first)
        if coded:
            bit, twice = next_gaps(section, bit, end, twice, k, limit, _BLOCK, at, weights)
            if bit > end or twice >> _ONE > extent:
                return INVALID, added
        else:
            if marked:
                last = first + _BLOCK
                word, listed = list_ones(ones, word, phase, listed, last, count, positions, many)
            _fetch(at, weights)
        if added + _AHEAD < first:
            offset = _U(4 * added)
            infinite |= _add_block(positions + offset, weights, old + offset, values, added, new)
            added += _BLOCK
    while added < whole:
        offset = _U(4 * added)
        infinite |= _add_block(positions + offset, weights, old + offset, values, added, new)
        added += _BLOCK
    if coded:
        at = positions + _U(4 * whole)
        bit, twice = next_gaps(section, bit, end, twice, k, limit, count - whole, at, weights)
        if twice >> _ONE != extent or stream_code(section, size, np.int64(bit), INVALID, INVALID):
            return INVALID, whole
    if marked:
        list_ones(ones, word, phase, listed, count, count, positions, many)
    rest = _add_rest(whole, count, positions, weights, old, values)
    return (NOT_FINITE if infinite or rest else 0), count


@kernel
def _move_all(
    count: Any, kind: Any, mode: Any, weight: Any, positions: Any, weights: Any, old: Any,
    patterns: Any,
) -> Any:  # fmt: skip
    """Move weights one by one, of any element type; returns whether all are finite."""
    finite = True
    shift = SHIFTS[kind]
    for index in range(count):
        at = positions + _U(4 * index)
        if index + 64 < count:
            prefetch(weights + (_U(load_32(at + _U(256))) << shift))
        place = weights + (_U(load_32(at)) << shift)
        before = load_weight(shift, place)
        store_weight(shift, old + (_U(index) << shift), before)
        after, good = moved(kind, mode, before, load_32(patterns + _U(4 * index)), weight)
        store_weight(shift, place, after)
        finite &= good
    return finite


@kernel
def _apply_frame(
    frames: Any, row: Any, kind: Any, mode: Any, weight: Any, positions: Any, weights: Any,
    old: Any, scratch: Any, tables: Any,
) -> Any:  # fmt: skip
    """Returns (fault or 0, number of old weights in the record)."""
    count = frames[row, NONZEROS]
    new, patterns = scratch, scratch + _U(4 * _BLOCK)
    if mode == ADD and kind == FLOAT32:
        signed = frames[row, VALUES] == SIGN
        magnitude = _U32(0)
        if signed:
            magnitude = sign_magnitude(frames, row)
            if magnitude == 0:
                return INVALID, 0
            magnitude = pattern_of(weight * float_of(magnitude))
            patterns = _U(frames[row, VALUES_AT]) + _FOUR
        else:
            if decode_patterns(frames, row, True, patterns, tables):
                return INVALID, 0
            if weight != np.float32(1):
                _multiply(patterns, count, weight)
        values = (patterns, signed, magnitude)
        if frames[row, MASK] != BLOCKS:
            return _add_all(frames, row, positions, weights, old, values, new, new, tables)
        bitmap = np.empty(blocks_words(frames[row, MASK_PARAMETER], frames[row, EXTENT]), np.uint64)
        ones = _U(bitmap.ctypes.data)
        fault, kept = _add_all(frames, row, positions, weights, old, values, new, ones, tables)
        return fault, kept + 0 * bitmap.size  # numba frees an array after its last use
    if decode_positions(frames, row, positions, tables):
        return INVALID, 0
    if decode_patterns(frames, row, mode == ADD, patterns, tables):
        return INVALID, 0
    finite = _move_all(count, kind, mode, weight, positions, weights, old, patterns)
    return (0 if finite else NOT_FINITE), count


@kernel
def apply_frames(
    frames: Any, parts: Any, counter: Any, record: Any, previous: Any, mode: Any, factors: Any,
    scratch: Any, tables: Any,
) -> Any:  # fmt: skip
    """Apply one task, or several in turn, row i of ``frames`` to row i of the places, part by part.

    Before a frame is applied, what the previous record holds of the same chunk, or of those before
    it, is put back: so the weights of a chunk come into the cache once for both. Rows of the same
    chunk are applied from the last to the first: a record is put back from the first on.

    No frame can make this read or write elsewhere: positions ascend, and each group of them is
    compared with the extent before a weight is touched; the caller has compared the extent with
    the number of weights at the place. A frame at fault ends the loop on all threads.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``].
        parts: int64 [parts, ``PART_COLUMNS``]; no row is in two of them, and all rows of a chunk
            are in one.
        counter: address of an int64, 0 when the first thread begins.
        record: a tuple:

            - places: int64 [rows, ``PLACE_COLUMNS``]; at each row's address lie at least
              ``EXTENT`` weights;
            - done: int64 [rows]; overwritten with the number of old weights in the record;
            - address of the positions, uint32: memory for every row's from its ``SLOT`` on;
            - address of the old weights: memory for every row's from its ``OLD`` on.
        previous: the same of the record that is put back.
        mode: ``ADD``, ``STEP`` or ``ADD_STEPS`` (see ``elements``).
        factors: float32 [rows], the weights of the tasks that the rows come from.
        scratch: address of memory for the non-zeros of the largest row and 64 more, uint32; this
            thread's own.
        tables: what ``run_tables_address`` returns.

    Returns:
        (row, ``INVALID`` or ``NOT_FINITE``) of the frame at fault that this thread found, or
        (−1, 0).
    """
    places, done, positions_at, old_at = record
    part = take_ticket(counter)
    while part < len(parts):
        before, last_old = parts[part, FIRST_OLD], parts[part, LAST_OLD]
        first, last = parts[part, FIRST], parts[part, LAST]
        while first < last:
            order = places[first, ORDER]
            before = restore_until(previous, before, last_old, order)
            after = first + 1
            while after < last and places[after, ORDER] == order:
                after += 1
            for row in range(after - 1, first - 1, -1):
                positions = positions_at + (_U(places[row, SLOT]) << _TWO)
                fault, done[row] = _apply_frame(
                    frames, row, places[row, KIND], mode, factors[row], positions,
                    _U(places[row, WEIGHTS_AT]), old_at + _U(places[row, OLD]), scratch, tables,
                )  # fmt: skip
                if fault:
                    store_64(counter, _U(NO_MORE))
                    return row, fault
            first = after
        restore_until(previous, before, last_old, LAST_ORDER)
        part = take_ticket(counter)
    return -1, 0
