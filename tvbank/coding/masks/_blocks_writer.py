"""The writer of ``blocks`` sections."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.densities import RUN_LIMIT, density_step, run_starts
from tvbank.coding.kernel import kernel
from tvbank.coding.masks._classes import blocks_cost, classify, map_cost, sizes_of
from tvbank.coding.rans import (
    FIELD_BITS,
    FIRST_STATE,
    SLOT_BITS,
    SLOTS,
    STATE_WORDS,
    write_field,
    write_symbol,
)

_LEAST = np.uint64(FIRST_STATE)
_SYMBOLS = RUN_LIMIT + 2


@kernel
def _count_lines(positions: Any, width: Any, phase: Any, rows: Any, columns: Any) -> None:
    row: Any = 0
    behind = width - phase
    for position in positions:
        while position >= behind:
            behind += width
            row += 1
        rows[row] += 1
        columns[position - (behind - width)] += 1


@kernel
def _count_blocks(
    positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any, ones: Any
) -> None:
    row: Any = 0
    behind = width - phase
    for position in positions:
        while position >= behind:
            behind += width
            row += 1
        ones[row_class[row], column_class[position - (behind - width)]] += 1


@kernel
def _choose(positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any) -> Any:
    """Put rows and columns into classes; returns the numbers of classes and the ones by block."""
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
    one_row, one_column = np.full(1, row_class.size), np.full(1, width)
    by_row = ones.sum(1).reshape((heights, 1))
    by_column = ones.sum(0).reshape((1, widths))
    all_ones = np.full((1, 1), positions.size)
    map_rows = map_cost(row_sizes, row_class.size)
    map_columns = map_cost(column_sizes, width)
    both = map_rows + map_columns + blocks_cost(row_sizes, column_sizes, ones)
    rows_only = map_rows + blocks_cost(row_sizes, one_column, by_row)
    columns_only = map_columns + blocks_cost(one_row, column_sizes, by_column)
    neither = blocks_cost(one_row, one_column, all_ones)
    least = min(min(both, rows_only), min(columns_only, neither))
    if neither == least or (rows_only == least and heights == 1):
        heights = widths = 1
    elif rows_only == least:
        widths = 1
    elif columns_only == least:
        heights = 1
    if heights == 1:
        row_class[:] = 0
    if widths == 1:
        column_class[:] = 0
    return heights, widths


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
def _write_classes(states: Any, words: Any, at: Any, classes: Any, sizes: Any) -> Any:
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
def _rank(classes: Any, count: Any, ranks: Any) -> None:
    used = np.zeros(count, np.int64)
    for line in range(classes.size):
        ranks[line] = used[classes[line]]
        used[classes[line]] += 1


@kernel
def _write(
    positions: Any, width: Any, phase: Any, row_class: Any, column_class: Any,
    heights: Any, widths: Any, run_starts: Any, words: Any,
) -> Any:  # fmt: skip
    """Fill ``words`` from the end; returns where the section starts."""
    row_sizes, column_sizes = sizes_of(row_class, heights), sizes_of(column_class, widths)
    row_rank = np.empty(row_class.size, np.int64)
    column_rank = np.empty(width, np.int64)
    _rank(row_class, heights, row_rank)
    _rank(column_class, widths, column_rank)
    blocks = heights * widths
    stop = np.zeros(blocks + 1, np.int64)
    row: Any = 0
    behind = width - phase
    for position in positions:
        while position >= behind:
            behind += width
            row += 1
        column = position - (behind - width)
        stop[row_class[row] * widths + column_class[column] + 1] += 1
    for block in range(blocks):
        stop[block + 1] += stop[block]
    cells = np.empty(positions.size, np.int64)
    row = 0
    behind = width - phase
    used = stop.copy()
    for position in positions:
        while position >= behind:
            behind += width
            row += 1
        column = position - (behind - width)
        block = row_class[row] * widths + column_class[column]
        above = row_rank[row] * column_sizes[column_class[column]]
        cells[used[block]] = above + column_rank[column]
        used[block] += 1
    at = words.size
    x = y = z = u = _LEAST
    for block in range(blocks - 1, -1, -1):
        count = stop[block + 1] - stop[block]
        size = row_sizes[block // widths] * column_sizes[block % widths]
        if count:
            table, unit = density_step(count, size)
            base = table * _SYMBOLS
            escape = 0
            while run_starts[base + escape + 1] < SLOTS:
                escape += 1
            escape_at = np.uint64(run_starts[base + escape])
            escape_size = np.uint64(SLOTS) - escape_at
            unit_bits = np.uint64(unit)
            for index in range(count - 1, -1, -1):
                before = cells[stop[block] + index - 1] if index else -1
                gap = cells[stop[block] + index] - before - 1
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
        x, y, z, u = u, x, y, z
    states = np.empty(4, np.uint64)
    states[0], states[1], states[2], states[3] = x, y, z, u
    if widths > 1:
        at = _write_classes(states, words, at, column_class, column_sizes)
    if heights > 1:
        at = _write_classes(states, words, at, row_class, row_sizes)
    x, y, z, u = states[0], states[1], states[2], states[3]
    for field, bits in ((widths - 1, 4), (heights - 1, 4), (phase, 16)):
        u, at = write_field(u, np.uint64(field), np.uint64(bits), words, at)
        x, y, z, u = u, x, y, z
    states[0], states[1], states[2], states[3] = x, y, z, u
    at -= STATE_WORDS
    for number in range(4):
        words[at + 2 * number] = np.uint16(states[number] & np.uint64(0xFFFF))
        words[at + 2 * number + 1] = np.uint16(states[number] >> np.uint64(16))
    return at


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
    places = positions.astype(np.int64)
    heights, widths = _choose(places, width, phase, row_class, column_class)
    # Every step writes at most one word; an escape stands for at least one entry.
    steps = 2 * positions.size + rows * width + rows + width + 2 * 256 + 32 + 3
    words = np.empty(steps + STATE_WORDS + 1, np.uint16)
    start = _write(
        places, width, phase, row_class, column_class, heights, widths, run_starts(), words
    )
    return words[start:].view(np.uint8)
