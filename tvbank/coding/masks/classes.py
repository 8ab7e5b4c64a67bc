"""The writer's choice for ``blocks``: which rows and columns of a chunk are equally dense.

Costs are integers, 1/65536 of a bit, so that every machine makes the same choice. Lines are put
into bins by density, and a shortest path finds the best cut of the ascending bins into classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tvbank.coding.costs import entropy, weighted_log
from tvbank.coding.densities import density_step
from tvbank.coding.kernel import kernel

CLASS_LIMIT = 16
#: Bits that a class costs beside its cells: its frequency, and about a count a block.
_CLASS_BITS, _BLOCK_BITS = 10, 16
_BINS = 256
_FAR = 1 << 62


@kernel
def _bin_of(ones: Any, cells: Any) -> Any:
    """Where a line of this density belongs, ascending; 0 for an empty one."""
    if ones == 0:
        return 0
    table, unit = density_step(ones, cells)
    if table >= 32:
        return 160 + (table - 32)
    octave = table // 8 + unit
    return 8 * (19 - octave) + table % 8 - 7 if octave < 19 else 1


@kernel
def classify(counts: Any, length: Any, others: Any, classes: Any) -> Any:
    """Cut lines into classes of similar density.

    Args:
        counts: int64 [lines], ones in each line.
        length: entries of every line, at least 1.
        others: number of classes of the crossing lines.
        classes: uint8 [lines], overwritten: the class of each line, ascending in density.

    Returns:
        The number of classes, 1 to 16.
    """
    lines_of = np.zeros(_BINS, np.int64)
    ones_of = np.zeros(_BINS, np.int64)
    for line in range(counts.size):
        place = _bin_of(counts[line], length)
        lines_of[place] += 1
        ones_of[place] += counts[line]
    used = np.empty(_BINS, np.int64)
    bins = 0
    for place in range(_BINS):
        if lines_of[place]:
            used[bins] = place
            bins += 1
    price = (_CLASS_BITS + _BLOCK_BITS * others) << 16
    best = np.zeros((CLASS_LIMIT + 1, bins + 1), np.int64)
    for number in range(CLASS_LIMIT + 1):
        for stop in range(bins + 1):
            best[number, stop] = _FAR
    start = np.zeros((CLASS_LIMIT + 1, bins + 1), np.int64)
    best[0, 0] = 0
    whole = weighted_log(counts.size) // counts.size
    for stop in range(1, bins + 1):
        lines: Any = 0
        ones: Any = 0
        for first in range(stop - 1, -1, -1):
            lines += lines_of[used[first]]
            ones += ones_of[used[first]]
            cost = price + entropy(ones, lines * length) + lines * whole - weighted_log(lines)
            for number in range(1, min(CLASS_LIMIT, stop) + 1):
                if best[number - 1, first] + cost < best[number, stop]:
                    best[number, stop] = best[number - 1, first] + cost
                    start[number, stop] = first
    count = 1
    for number in range(2, CLASS_LIMIT + 1):
        if best[number, bins] < best[count, bins]:
            count = number
    class_of = np.zeros(_BINS, np.uint8)
    stop = bins
    for number in range(count, 0, -1):
        first = start[number, stop]
        for place in range(first, stop):
            class_of[used[place]] = number - 1
        stop = first
    for line in range(counts.size):
        classes[line] = class_of[_bin_of(counts[line], length)]
    return count


@kernel
def sizes_of(classes: Any, count: Any) -> Any:
    """Number of lines in each class, int64 [count]."""
    sizes = np.zeros(count, np.int64)
    for each in classes:
        sizes[each] += 1
    return sizes


@kernel
def map_cost(sizes: Any, lines: Any) -> Any:
    """Cost of saying which class every line is in."""
    cost = weighted_log(lines)
    for size in sizes:
        cost += ((_CLASS_BITS << 16) if sizes.size > 1 else 0) - weighted_log(size)
    return cost


@kernel
def blocks_cost(rows: Any, columns: Any, ones: Any) -> Any:
    """Cost of all blocks of ``ones`` [row class, column class], given the sizes of the classes."""
    cost = np.int64(0)
    for row in range(rows.size):
        for column in range(columns.size):
            cost += entropy(ones[row, column], rows[row] * columns[column]) + (_BLOCK_BITS << 16)
    return cost
