"""Which exponents of the base go together: segments of exponent bytes, chosen by what they cost.

The exponent byte of a weight is bits 7 to 14 of the upper 16 bits of its pattern (spec/masks.md,
"base-blocks"). A segment is a range of bytes whose entries are coded alike.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.costs import COST_BITS, entropy, weighted_log
from tvbank.coding.kernel import kernel

#: Most segments.
SEGMENTS: Final = 16
BYTES: Final = 256
_FAR = 1 << 62
#: Bytes that are used are put together until no more than this are left.
_MOST = 64


@kernel
def shortest_cut(costs: Any, count: Any, starts: Any) -> Any:
    """Cut ascending places into ranges of least cost.

    Args:
        costs: int64 [count, count + 1], the cost of a range from its first place to its stop.
        count: number of places.
        starts: int64 [SEGMENTS + 1], overwritten: where each range begins, then ``count``.

    Returns:
        The number of ranges, 1 to ``SEGMENTS``.
    """
    best = np.empty((SEGMENTS + 1, count + 1), np.int64)
    before = np.zeros((SEGMENTS + 1, count + 1), np.int64)
    for number in range(SEGMENTS + 1):
        for stop in range(count + 1):
            best[number, stop] = _FAR
    best[0, 0] = 0
    for stop in range(1, count + 1):
        for first in range(stop):
            for number in range(1, SEGMENTS + 1):
                cost = best[number - 1, first] + costs[first, stop]
                if cost < best[number, stop]:
                    best[number, stop] = cost
                    before[number, stop] = first
    chosen = 1
    for number in range(2, SEGMENTS + 1):
        if best[number, count] < best[chosen, count]:
            chosen = number
    stop = count
    starts[chosen] = count
    for number in range(chosen, 0, -1):
        stop = before[number, stop]
        starts[number - 1] = stop
    return chosen


@kernel
def _used(cells: Any, places: Any) -> Any:
    """List the bytes that occur; the rarest go with the one before them if there are many."""
    count = 0
    total: Any = 0
    for byte in range(BYTES):
        total += cells[byte]
        count += cells[byte] > 0
    least = total // (2 * _MOST) if count > _MOST else 0
    listed = 0
    pending: Any = 0
    for byte in range(BYTES):
        if cells[byte]:
            if pending == 0:
                places[listed] = byte
            pending += cells[byte]
            if pending > least:
                listed += 1
                pending = 0
    if pending:
        listed += 1
    places[listed] = BYTES
    return listed


@kernel
def segment_ones(cells: Any, ones: Any, price: Any, bounds: Any) -> Any:
    """Choose segments for a mask.

    Args:
        cells: int64 [classes, 256], entries of each exponent byte.
        ones: int64 [classes, 256], those that are not zero.
        price: what a segment costs beside its entries.
        bounds: int64 [SEGMENTS + 1], overwritten: the first byte of each; of the first 0; then 256.

    Returns:
        Their number.
    """
    together = np.zeros(BYTES, np.int64)
    for each in range(cells.shape[0]):
        for byte in range(BYTES):
            together[byte] += cells[each, byte]
    places = np.zeros(BYTES + 1, np.int64)
    count = _used(together, places)
    costs = np.zeros((count, count + 1), np.int64)
    for first in range(count):
        inside = np.zeros((2, cells.shape[0]), np.int64)
        for stop in range(first + 1, count + 1):
            cost = price
            for each in range(cells.shape[0]):
                for byte in range(places[stop - 1], places[stop]):
                    inside[0, each] += cells[each, byte]
                    inside[1, each] += ones[each, byte]
                cost += entropy(inside[1, each], inside[0, each])
            costs[first, stop] = cost
    number = shortest_cut(costs, count, bounds)
    for segment in range(number + 1):
        bounds[segment] = places[bounds[segment]]
    bounds[0] = 0
    return number


@kernel
def segment_counts(counts: Any, price: Any, bounds: Any) -> Any:
    """Choose segments for laws of symbols.

    Args:
        counts: int64 [256, symbols], how often each symbol occurs beside each exponent byte.
        price: what a symbol costs in a law.
        bounds: as of ``segment_ones``.

    Returns:
        Their number.
    """
    symbols = 0
    cells = np.zeros(BYTES, np.int64)
    for byte in range(BYTES):
        for symbol in range(counts.shape[1]):
            if counts[byte, symbol]:
                cells[byte] += counts[byte, symbol]
                symbols = max(symbols, symbol + 1)
    places = np.zeros(BYTES + 1, np.int64)
    count = _used(cells, places)
    costs = np.zeros((count, count + 1), np.int64)
    for first in range(count):
        inside = np.zeros(symbols, np.int64)
        total: Any = 0
        for stop in range(first + 1, count + 1):
            for byte in range(places[stop - 1], places[stop]):
                total += cells[byte]
                for symbol in range(symbols):
                    inside[symbol] += counts[byte, symbol]
            cost = weighted_log(total) + (16 << COST_BITS)
            for symbol in range(symbols):
                if inside[symbol]:
                    cost += price - weighted_log(inside[symbol])
            costs[first, stop] = cost
    number = shortest_cut(costs, count, bounds)
    for segment in range(number + 1):
        bounds[segment] = places[bounds[segment]]
    bounds[0] = 0
    return number
