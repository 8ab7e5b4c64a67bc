"""Several tasks onto the weights: their weighted sum in float32, rounded once.

Chunk by chunk: every task's entries are added to totals that start from the weights; then the
touched weights go to the record and the rounded totals take their place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.elements import (
    ADD,
    SHIFTS,
    entry_of,
    load_weight,
    rounded,
    store_weight,
    widened,
)
from tvbank.coding.decoding.memory import (
    float_of,
    load_32,
    load_64,
    pattern_of,
    prefetch,
    store_32,
    store_64,
    take_ticket,
)
from tvbank.coding.decoding.patterns import decode_patterns
from tvbank.coding.decoding.positions import decode_positions
from tvbank.coding.decoding.table import (
    EXTENT,
    FIRST,
    FIRST_OLD,
    KIND,
    LAST,
    LAST_OLD,
    LAST_ORDER,
    NO_MORE,
    NONZEROS,
    OLD,
    ORDER,
    SLOT,
    WEIGHTS_AT,
)
from tvbank.coding.kernel import kernel, trailing_zeros
from tvbank.switching.loops.apply import INVALID, NOT_FINITE
from tvbank.switching.loops.restore import restore_until

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _THREE, _SIX, _LOW_SIX = _U(1), _U(2), _U(3), _U(6), _U(63)
_AHEAD = 64


@kernel
def _accumulate(
    count: Any, kind: Any, mode: Any, weight: Any, weights: Any, positions: Any, patterns: Any,
    totals: Any, touched: Any,
) -> None:  # fmt: skip
    """Add one task's entries of a chunk to the totals; bit p of ``touched`` marks position p."""
    shift = SHIFTS[kind]
    for index in range(count):
        at = positions + _U(4 * index)
        if index + _AHEAD < count:
            prefetch(weights + (_U(load_32(at + _U(4 * _AHEAD))) << shift))
        position = _U(load_32(at))
        word_at = touched + (position >> _SIX << _THREE)
        word, bit = load_64(word_at), _ONE << (position & _LOW_SIX)
        total_at = totals + (position << _TWO)
        base = load_weight(shift, weights + (position << shift))
        if word & bit:
            total = float_of(load_32(total_at))
        else:
            store_64(word_at, word | bit)
            total = float_of(widened(kind, base))
        added = weight * entry_of(kind, mode, base, load_32(patterns + _U(4 * index)))
        store_32(total_at, pattern_of(total + added))


@kernel
def _settle(
    extent: Any, kind: Any, weights: Any, positions: Any, old: Any, totals: Any, touched: Any
) -> Any:
    """Record the touched weights of a chunk, write the totals, clear the marks.

    Returns:
        (number of old weights in the record, whether all new ones are finite).
    """
    count = 0
    finite = True
    shift = SHIFTS[kind]
    for first in range(0, extent, 64):
        word = load_64(touched + _U(first // 8))
        if word:
            store_64(touched + _U(first // 8), _U(0))
        while word:
            position = _U(first) + trailing_zeros(word)
            word &= word - _ONE
            total = load_32(totals + (position << _TWO))
            after, good = rounded(kind, total)
            finite &= good
            store_32(positions + _U(4 * count), _U32(position))
            at = weights + (position << shift)
            store_weight(shift, old + (_U(count) << shift), load_weight(shift, at))
            store_weight(shift, at, after)
            count += 1
    return count, finite


@kernel
def _clear(touched: Any, extent: Any) -> None:
    for first in range(0, extent, 64):
        store_64(touched + _U(first // 8), _U(0))


@kernel
def _merge_place(
    frames: Any, modes: Any, factors: Any, first: Any, last: Any, kind: Any, weights: Any,
    positions: Any, old: Any, scratch: Any, tables: Any,
) -> Any:  # fmt: skip
    """Returns (row at fault or −1, fault or 0, number of old weights in the record)."""
    within, patterns, totals, touched = scratch
    extent = 0
    for row in range(first, last):
        code = decode_positions(frames, row, within, tables)
        if code or decode_patterns(frames, row, modes[row] == ADD, patterns, tables):
            _clear(touched, extent)
            return row, INVALID, 0
        extent = max(extent, frames[row, EXTENT])
        _accumulate(
            frames[row, NONZEROS], kind, modes[row], factors[row], weights, within, patterns,
            totals, touched,
        )  # fmt: skip
    count, finite = _settle(extent, kind, weights, positions, old, totals, touched)
    if not finite:
        return first, NOT_FINITE, count
    return -1, 0, count


@kernel
def merge_frames(
    frames: Any, modes: Any, factors: Any, starts: Any, parts: Any, counter: Any, record: Any,
    previous: Any, scratch: Any, tables: Any,
) -> Any:  # fmt: skip
    """Merge the tasks' frames of every place, part by part.

    Before a place is merged, what the previous record holds of the same chunk, or of those before
    it, is put back. A place whose frames are not all valid is left alone and ends the loop on all
    threads; as in ``apply_frames``, no frame can make this read or write elsewhere, since a
    position is used only when its whole mask has proved valid, which bounds it by the extent.

    Args:
        frames: int64 [rows, ``FRAME_COLUMNS``], those of one place together, in the order in which
            they are added.
        modes: int64 [rows], ``ADD`` or ``ADD_STEPS``.
        factors: float32 [rows], the weights of the tasks.
        starts: int64 [places + 1], the first row of each place.
        parts: int64 [parts, ``PART_COLUMNS``]; no place is in two of them.
        counter: address of an int64, 0 when the first thread begins.
        record: as in ``apply_frames``; each place can have as many entries as all its frames
            hold, or as the greatest extent.
        previous: the same of the record that is put back.
        scratch: four addresses, this thread's own, of memory: for the positions and for the
            patterns, uint32, of the largest frame; for the greatest extent's totals, float32; and
            for as many bits, all 0, in whole uint64.
        tables: what ``run_tables_address`` returns.

    Returns:
        (row, ``INVALID`` or ``NOT_FINITE``) of the frame at fault that this thread found, or
        (−1, 0); of several frames that make a sum not finite, the first.
    """
    places, done, positions_at, old_at = record
    part = take_ticket(counter)
    while part < len(parts):
        before, last_old = parts[part, FIRST_OLD], parts[part, LAST_OLD]
        for place in range(parts[part, FIRST], parts[part, LAST]):
            before = restore_until(previous, before, last_old, places[place, ORDER])
            row, fault, done[place] = _merge_place(
                frames, modes, factors, starts[place], starts[place + 1], places[place, KIND],
                _U(places[place, WEIGHTS_AT]), positions_at + (_U(places[place, SLOT]) << _TWO),
                old_at + _U(places[place, OLD]), scratch, tables,
            )  # fmt: skip
            if fault:
                store_64(counter, _U(NO_MORE))
                return row, fault
        restore_until(previous, before, last_old, LAST_ORDER)
        part = take_ticket(counter)
    return -1, 0
