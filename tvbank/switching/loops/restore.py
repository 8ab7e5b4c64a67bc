"""Putting back what the record kept: every bit of the weights that were touched."""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.decoding.elements import SHIFTS, load_weight, store_weight
from tvbank.coding.decoding.memory import load_32, prefetch, take_ticket
from tvbank.coding.decoding.table import (
    FIRST,
    KIND,
    LAST,
    LAST_ORDER,
    OLD,
    ORDER,
    SLOT,
    WEIGHTS_AT,
)
from tvbank.coding.kernel import kernel

_U = np.uint64
_TWO = _U(2)
#: Entries between asking for a cache line and writing to it.
_AHEAD = 64


@kernel
def restore_place(places: Any, row: Any, count: Any, positions_at: Any, old_at: Any) -> None:
    """Put back the first ``count`` old weights of one place; may be done again and again.

    Args:
        places: int64, the table of places (see ``table``).
        row: the place's row.
        count: entries that were recorded; their positions lie within the chunk's weights.
        positions_at: address of the record's positions.
        old_at: address of the record's old weights.
    """
    weights = _U(places[row, WEIGHTS_AT])
    positions = positions_at + (_U(places[row, SLOT]) << _TWO)
    old = old_at + _U(places[row, OLD])
    ahead = max(0, count - _AHEAD)
    shift = SHIFTS[places[row, KIND]]
    for index in range(count):
        at = positions + _U(4 * index)
        if index < ahead:
            prefetch(weights + (_U(load_32(at + _U(4 * _AHEAD))) << shift))
        before = load_weight(shift, old + (_U(index) << shift))
        store_weight(shift, weights + (_U(load_32(at)) << shift), before)


@kernel
def restore_until(record: Any, row: Any, last: Any, order: Any) -> Any:
    """Put back the places from ``row`` to ``last`` − 1 whose ``ORDER`` is at most ``order``.

    Args:
        record: (places, done, address of the positions, address of the old weights);
            ``done[row]`` entries of each place are put back.
        row: where to begin.
        last: the row after the last.
        order: where to end.

    Returns:
        The row after the last that was put back.
    """
    places, done, positions_at, old_at = record
    while row < last and places[row, ORDER] <= order:
        restore_place(places, row, done[row], positions_at, old_at)
        row += 1
    return row


@kernel
def restore_parts(record: Any, parts: Any, counter: Any) -> None:
    """Put back the rows ``FIRST`` to ``LAST`` − 1 of the parts that this thread takes.

    Args:
        record: as in ``restore_until``.
        parts: int64 [parts, ``PART_COLUMNS``].
        counter: address of an int64, 0 when the first thread begins.
    """
    part = take_ticket(counter)
    while part < len(parts):
        restore_until(record, parts[part, FIRST], parts[part, LAST], LAST_ORDER)
        part = take_ticket(counter)
