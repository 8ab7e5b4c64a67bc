"""The writer of ``blocks`` sections."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.densities import RUN_LIMIT, density_step, run_starts
from tvbank.coding.kernel import kernel
from tvbank.coding.masks.classes import blocks_cost, classify, map_cost, sizes_of
from tvbank.coding.rans import (
    FIELD_BITS,
    FIRST_STATE,
    SLOT_BITS,
    SLOTS,
    STATE_WORDS,
    close_section,
    write_field,
    write_symbol,
)

_LEAST = np.uint64(FIRST_STATE)
_SYMBOLS = RUN_LIMIT + 2


@kernel
def _count_lines(positions: Any, width: Any, phase: Any, rows: Any, columns: Any) -> None:
    row: Any = 0
    end_of_row = width - phase
    for position in positions:
        while position >= end_of_row:
            end_of_row += width
            row += 1
        rows[row] += 1
        columns[position - (end_of_row - width)] += 1


@kernel
def _count_blocks(
    positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any, ones: Any
) -> None:
    row: Any = 0
    end_of_row = width - phase
    for position in positions:
        while position >= end_of_row:
            end_of_row += width
            row += 1
        ones[row_class[row], column_class[position - (end_of_row - width)]] += 1


@kernel
def _choose(positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any) -> Any:
    """Put rows and columns into classes; returns the ones of each block."""
    row_counts = np.zeros(row_class.size, np.int64)
    column_counts = np.zeros(width, np.int64)
    _count_lines(positions, width, phase, row_counts, column_counts)
    live = 0
    for count in row_counts:
        live += count > 0
    heights = classify(row_counts, width, 1, row_class)
    widths = classify(column_counts, live, heights, column_class)
    ones = np.zeros((heights, widths), np.int64)
    _count_blocks(positions, width, phase, row_class, column_class, ones)
    row_sizes, column_sizes = sizes_of(row_class, heights), sizes_of(column_class, widths)
    # Loops, as the reductions of numpy take numba a second to compile.
    one_row, one_column = np.zeros(1, np.int64), np.zeros(1, np.int64)
    one_row[0], one_column[0] = row_class.size, width
    by_row = np.zeros((heights, 1), np.int64)
    by_column = np.zeros((1, widths), np.int64)
    all_ones = np.zeros((1, 1), np.int64)
    for row in range(heights):
        for column in range(widths):
            by_row[row, 0] += ones[row, column]
            by_column[0, column] += ones[row, column]
            all_ones[0, 0] += ones[row, column]
    map_rows = map_cost(row_sizes, row_class.size)
    map_columns = map_cost(column_sizes, width)
    both = map_rows + map_columns + blocks_cost(row_sizes, column_sizes, ones)
    rows_only = map_rows + blocks_cost(row_sizes, one_column, by_row)
    columns_only = map_columns + blocks_cost(one_row, column_sizes, by_column)
    neither = blocks_cost(one_row, one_column, all_ones)
    least = min(min(both, rows_only), min(columns_only, neither))
    if neither == least:
        ones = all_ones
    elif rows_only == least:
        ones = by_row
    elif columns_only == least:
        ones = by_column
    for row in range(row_class.size):
        row_class[row] = min(row_class[row], ones.shape[0] - 1)
    for column in range(width):
        column_class[column] = min(column_class[column], ones.shape[1] - 1)
    return ones


@kernel
def _frequencies(sizes: Any, lines: Any) -> Any:
    """Slots of each class: in proportion to its lines, at least 1; the largest takes the rest."""
    slots = np.empty(sizes.size, np.int64)
    largest = 0
    left = SLOTS
    for number in range(sizes.size):
        slots[number] = max(1, sizes[number] * SLOTS // lines)
        left -= slots[number]
        if slots[number] > slots[largest]:
            largest = number
    slots[largest] += left
    return slots


@kernel
def write_classes(states: Any, words: Any, at: Any, classes: Any, sizes: Any) -> Any:
    """Write the slots of some classes of lines, and the class of each line; returns ``at``."""
    x, y, z, u = states[0], states[1], states[2], states[3]
    slots = _frequencies(sizes, classes.size)
    starts = np.zeros(slots.size + 1, np.int64)
    for number in range(slots.size):
        starts[number + 1] = starts[number] + slots[number]
    for line in range(classes.size - 1, -1, -1):
        each = classes[line]
        u, at = write_symbol(u, np.uint64(starts[each]), np.uint64(slots[each]), words, at)
        x, y, z, u = u, x, y, z
    for number in range(slots.size - 2, -1, -1):
        u, at = write_field(u, np.uint64(slots[number]), np.uint64(SLOT_BITS), words, at)
        x, y, z, u = u, x, y, z
    states[0], states[1], states[2], states[3] = x, y, z, u
    return at


@kernel
def write_runs(
    states: Any, cells: Any, first: Any, last: Any, size: Any, run_starts: Any, words: Any, at: Any
) -> Any:
    """Write the number of non-zeros in a block, and the run before each.

    Args:
        states: uint64 [4], changed.
        cells: uint32, the block's non-zeros from index ``first`` to ``last``, the last excluded.
        first: their first index.
        last: the index after the last.
        size: cells of the block.
        run_starts: what ``densities.run_starts`` returns.
        words: uint16, filled from the end.
        at: the word written last, or the length of ``words``.

    Returns:
        The word written last.
    """
    x, y, z, u = states[0], states[1], states[2], states[3]
    count = last - first
    if count:
        table, unit = density_step(count, size)
        base = table * _SYMBOLS
        escape = 0
        while run_starts[base + escape + 1] < SLOTS:
            escape += 1
        escape_at = np.uint64(run_starts[base + escape])
        escape_size = np.uint64(SLOTS) - escape_at
        unit_bits = np.uint64(unit)
        cell = np.int64(cells[last - 1])
        for index in range(last - 1, first - 1, -1):
            before = np.int64(cells[index - 1]) if index > first else np.int64(-1)
            gap = cell - before - 1
            cell = before
            if unit:
                rest = np.uint64(gap & ((1 << unit) - 1))
                u, at = write_field(u, rest, unit_bits, words, at)
                x, y, z, u = u, x, y, z
            run = gap >> unit
            escapes: Any = 0
            while run >= escape:
                run -= escape
                escapes += 1
            start = np.uint64(run_starts[base + run])
            frequency = np.uint64(run_starts[base + run + 1]) - start
            u, at = write_symbol(u, start, frequency, words, at)
            x, y, z, u = u, x, y, z
            for _ in range(escapes):
                u, at = write_symbol(u, escape_at, escape_size, words, at)
                x, y, z, u = u, x, y, z
    bits = 0
    while size >> bits:
        bits += 1
    if bits > FIELD_BITS:
        high = np.uint64(count >> FIELD_BITS)
        u, at = write_field(u, high, np.uint64(bits - FIELD_BITS), words, at)
        x, y, z, u = u, x, y, z
    low = np.uint64(count & ((1 << FIELD_BITS) - 1))
    u, at = write_field(u, low, np.uint64(min(bits, FIELD_BITS)), words, at)
    states[0], states[1], states[2], states[3] = u, x, y, z
    return at


@kernel
def _rank(classes: Any, count: Any, ranks: Any) -> None:
    used = np.zeros(count, np.int64)
    for line in range(classes.size):
        ranks[line] = used[classes[line]]
        used[classes[line]] += 1


@kernel
def _write(
    positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any, ones: Any,
    run_starts: Any, words: Any,
) -> Any:  # fmt: skip
    """Fill ``words`` from the end; returns where the section starts."""
    heights, widths = ones.shape
    row_sizes, column_sizes = sizes_of(row_class, heights), sizes_of(column_class, widths)
    row_rank = np.empty(row_class.size, np.int64)
    column_rank = np.empty(width, np.int64)
    _rank(row_class, heights, row_rank)
    _rank(column_class, widths, column_rank)
    blocks = heights * widths
    stop = np.zeros(blocks + 1, np.int64)
    used = np.zeros(blocks, np.int64)
    for block in range(blocks):
        used[block] = stop[block]
        stop[block + 1] = stop[block] + ones[block // widths, block % widths]
    cells = np.empty(positions.size, np.uint32)
    row: Any = 0
    end_of_row = width - phase
    for position in positions:
        while position >= end_of_row:
            end_of_row += width
            row += 1
        column = position - (end_of_row - width)
        block = row_class[row] * widths + column_class[column]
        above = row_rank[row] * column_sizes[column_class[column]]
        cells[used[block]] = np.uint32(above + column_rank[column])
        used[block] += 1
    at = words.size
    states = np.empty(4, np.uint64)
    states[:] = _LEAST
    for block in range(blocks - 1, -1, -1):
        size = row_sizes[block // widths] * column_sizes[block % widths]
        at = write_runs(states, cells, stop[block], stop[block + 1], size, run_starts, words, at)
    if widths > 1:
        at = write_classes(states, words, at, column_class, column_sizes)
    if heights > 1:
        at = write_classes(states, words, at, row_class, row_sizes)
    x, y, z, u = states[0], states[1], states[2], states[3]
    for field, bits in ((widths - 1, 4), (heights - 1, 4), (phase, 16)):
        u, at = write_field(u, np.uint64(field), np.uint64(bits), words, at)
        x, y, z, u = u, x, y, z
    states[0], states[1], states[2], states[3] = x, y, z, u
    return close_section(states, words, at)


def write_section(
    positions: NDArray[np.uint32], extent: int, width: int, phase: int
) -> NDArray[np.uint8]:
    """The section of ascending positions, in the classes that this writer chooses.

    Args:
        positions: uint32 [m] of non-zeros, m > 0; the last is ``extent`` − 1.
        extent: entries that the section describes.
        width: entries of a row.
        phase: entries of the first row that come before entry 0.
    """
    rows = -(-(phase + extent) // width)
    row_class = np.empty(rows, np.uint8)
    column_class = np.empty(width, np.uint8)
    ones = _choose(positions, width, phase, row_class, column_class)
    # Every step writes at most one word; an escape stands for at least one entry.
    steps = 2 * positions.size + rows * width + rows + width + 2 * 256 + 32 + 3
    words = np.empty(steps + STATE_WORDS + 1, np.uint16)
    start = _write(positions, width, phase, row_class, column_class, ones, run_starts(), words)
    return words[start:].view(np.uint8)
