"""The writer of ``base-blocks`` sections: classes of rows, segments of exponents, runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.costs import COST_BITS, entropy, weighted_log
from tvbank.coding.decoding.given import bytes_at_least
from tvbank.coding.densities import run_starts
from tvbank.coding.kernel import inlined, kernel, ones_in
from tvbank.coding.masks.blocks_writer import write_classes, write_runs
from tvbank.coding.masks.classes import sizes_of
from tvbank.coding.rans import FIRST_STATE, STATE_WORDS, close_section, write_field
from tvbank.coding.segments import BYTES, SEGMENTS, segment_ones, shortest_cut

_U = np.uint64
_ONE, _LEAST = _U(1), _U(FIRST_STATE)
#: Bits that a string costs beside its entries, and a class of rows.
_STRING_BITS, _CLASS_BITS = 20, 10
#: Rows are put into bins by how much denser they are than their exponents say: four an octave.
_BINS = 32
#: Number of tables of counts that entries are counted in, in turn.
_LANES = 4
#: Of chunks of so many entries one in ``_SAMPLE``, a power of two, is counted to choose by.
_LARGE, _SAMPLE = 1 << 14, 4
#: Entries that are put into their strings at once.
_WINDOW = 64


@kernel
def _count(
    positions: Any, exponents: Any, extent: Any, width: Any, phase: Any, row_class: Any,
    cells: Any, ones: Any,
) -> None:  # fmt: skip
    """Count entries and non-zeros by class of row and exponent byte, to int64 [classes, 256].

    Of a large chunk one entry in four is counted, for four: enough to choose by.
    """
    # Neighbouring entries often go to the same count. Each has a table of its own, so that the
    # processor need not wait for the count before it.
    lanes = np.zeros((_LANES, cells.shape[0], BYTES), np.uint32)
    step = _SAMPLE if extent >= _LARGE else 1
    one = np.uint32(step)
    for row in range(row_class.size):
        position: Any = max(0, row * width - phase) + (row & (step - 1))
        stop = min(extent, (row + 1) * width - phase)
        each = row_class[row]
        while position + step * _LANES <= stop:
            for lane in range(_LANES):
                lanes[lane, each, exponents[position + step * lane]] += one
            position += step * _LANES
        while position < stop:
            lanes[0, each, exponents[position]] += one
            position += step
    row = 0
    next_row = width - phase
    for position in positions:
        while position >= next_row:
            next_row += width
            row += 1
        ones[row_class[row], exponents[position]] += 1
    for each in range(cells.shape[0]):
        for byte in range(BYTES):
            for lane in range(_LANES):
                cells[each, byte] += np.int64(lanes[lane, each, byte])
            cells[each, byte] = max(cells[each, byte], ones[each, byte])


@inlined
def _reaching(exponents: Any, place: Any, count: Any, bound: Any) -> Any:
    """Which of 1 to 64 entries have an exponent byte of ``bound`` or more; bits above are any."""
    if place + _WINDOW <= exponents.size:
        return bytes_at_least(_U(exponents.ctypes.data) + _U(place), bound)
    found = _U(0)
    for lane in range(count):
        found |= _U(exponents[place + lane] >= bound) << _U(lane)
    return found


@kernel
def _bin_rows(
    positions: Any, exponents: Any, extent: Any, width: Any, phase: Any, bounds: Any,
    segment_of: Any, shares: Any, bins: Any, cells: Any, ones: Any,
) -> None:  # fmt: skip
    """Put each row into a bin by its non-zeros over those that its exponents let expect.

    Args:
        positions: of non-zeros.
        exponents: uint8, of all entries.
        extent: entries.
        width: of a row.
        phase: entries of the first row that come before entry 0.
        bounds: int64, the first byte of each segment.
        segment_of: uint8 [256].
        shares: int64 [segments], of non-zeros in each, in 65536ths.
        bins: uint8 [rows], overwritten.
        cells: int64 [bins, segments], entries, counted on.
        ones: int64 [bins, segments], non-zeros, counted on.
    """
    segments = shares.size
    inside = np.zeros(segments, np.int64)
    place: Any = 0
    listed = 0
    for row in range(bins.size):
        stop = min(extent, (row + 1) * width - phase)
        inside[:] = 0
        while place < stop:
            count = min(_WINDOW, stop - place)
            left = (~_U(0)) >> _U(_WINDOW - count)
            before = count
            for segment in range(1, segments):
                left &= _reaching(exponents, place, count, _U(bounds[segment]))
                after = np.int64(ones_in(left))
                inside[segment - 1] += before - after
                before = after
            inside[segments - 1] += before
            place += count
        expected: Any = 0
        for segment in range(segments):
            expected += shares[segment] * inside[segment]
        first = listed
        while listed < positions.size and positions[listed] < stop:
            listed += 1
        # (found + 1/2) / (expected + 1/2), in sixteenths: no division by zero for empty rows.
        ratio = ((16 * (listed - first) + 8) << 20) // ((expected >> 12) + 8)
        octave = 0
        while octave < 8 and ratio >> (16 + octave + 1):
            octave += 1
        quarter = ((ratio >> octave) >> 14) & 3 if ratio >> (16 + octave) else 0
        each = min(_BINS - 1, 4 * octave + quarter)
        bins[row] = np.uint8(each)
        for segment in range(segments):
            cells[each, segment] += inside[segment]
        for index in range(first, listed):
            ones[each, segment_of[exponents[positions[index]]]] += 1


@kernel
def _classify(cells: Any, ones: Any, lines: Any, class_of: Any) -> Any:
    """Cut the bins of rows into classes; ``cells`` and ``ones`` are int64 [bins, segments]."""
    segments = cells.shape[1]
    used = np.zeros(_BINS, np.int64)
    count = 0
    rows: Any = 0
    for each in range(_BINS):
        rows += lines[each]
        if lines[each]:
            used[count] = each
            count += 1
    whole = weighted_log(rows) // rows
    costs = np.zeros((count, count + 1), np.int64)
    for first in range(count):
        inside = np.zeros((2, segments), np.int64)
        members: Any = 0
        for stop in range(first + 1, count + 1):
            members += lines[used[stop - 1]]
            cost = ((_CLASS_BITS + _STRING_BITS * segments) << COST_BITS) + members * whole
            cost -= weighted_log(members)
            for segment in range(segments):
                inside[0, segment] += cells[used[stop - 1], segment]
                inside[1, segment] += ones[used[stop - 1], segment]
                cost += entropy(inside[1, segment], inside[0, segment])
            costs[first, stop] = cost
    starts = np.zeros(SEGMENTS + 1, np.int64)
    number = shortest_cut(costs, count, starts)
    for each in range(number):
        for place in range(starts[each], starts[each + 1]):
            class_of[used[place]] = each
    return number


@kernel
def _segment_of(bounds: Any, number: Any, segment_of: Any) -> None:
    for segment in range(number):
        for byte in range(bounds[segment], bounds[segment + 1]):
            segment_of[byte] = np.uint8(segment)


@kernel
def _choose(
    positions: Any, exponents: Any, extent: Any, width: Any, phase: Any, row_class: Any, bounds: Any
) -> Any:
    """Choose classes of rows and segments; returns the numbers of both."""
    cells, ones = np.zeros((1, BYTES), np.int64), np.zeros((1, BYTES), np.int64)
    row_class[:] = 0
    _count(positions, exponents, extent, width, phase, row_class, cells, ones)
    price = _STRING_BITS << COST_BITS
    segments = segment_ones(cells, ones, price, bounds)
    if row_class.size < 2:
        return 1, segments
    shares = np.zeros(segments, np.int64)
    for segment in range(segments):
        inside: Any = 0
        found: Any = 0
        for byte in range(bounds[segment], bounds[segment + 1]):
            inside += cells[0, byte]
            found += ones[0, byte]
        shares[segment] = (found << 16) // max(1, inside)
    segment_of = np.zeros(BYTES, np.uint8)
    _segment_of(bounds, segments, segment_of)
    in_segments = np.zeros((2, _BINS, segments), np.int64)
    _bin_rows(
        positions, exponents, extent, width, phase, bounds, segment_of, shares, row_class,
        in_segments[0], in_segments[1],
    )  # fmt: skip
    lines = sizes_of(row_class, _BINS)
    class_of = np.zeros(_BINS, np.int64)
    classes = _classify(in_segments[0], in_segments[1], lines, class_of)
    if classes == 1:
        row_class[:] = 0
        return 1, segments
    for row in range(row_class.size):
        row_class[row] = np.uint8(class_of[row_class[row]])
    merged = np.zeros((2, classes, BYTES), np.int64)
    _count(positions, exponents, extent, width, phase, row_class, merged[0], merged[1])
    return classes, segment_ones(merged[0], merged[1], price * classes, bounds)


@kernel
def _string(
    exponents: Any, place: Any, count: Any, ones: Any, bounds: Any, segments: Any, first: Any,
    sizes: Any, used: Any, cells: Any,
) -> None:  # fmt: skip
    """Put 1 to 64 entries of a row into its strings, and list where in these the ones lie.

    Args:
        exponents: uint8, of all entries.
        place: of the first of these entries.
        count: their number.
        ones: bit i tells whether entry ``place`` + i is not zero.
        bounds: int64, the first byte of each segment.
        segments: their number.
        first: the string of the row's first segment.
        sizes: int64, the entries that each string has before; counted on.
        used: int64, where in ``cells`` each string goes on; moved on.
        cells: uint32, overwritten where the ones belong.
    """
    left = (~_U(0)) >> _U(_WINDOW - count)
    for segment in range(segments):
        mask = left
        if segment + 1 < segments:
            left &= _reaching(exponents, place, count, _U(bounds[segment + 1]))
            mask &= ~left
        if mask:
            string = first + segment
            here = ones & mask
            while here:
                lowest = here & (~here + _ONE)
                rank = np.int64(ones_in(mask & (lowest - _ONE)))
                cells[used[string]] = np.uint32(sizes[string] + rank)
                used[string] += 1
                here ^= lowest
            sizes[string] += np.int64(ones_in(mask))


@kernel
def _write(
    positions: Any, exponents: Any, extent: Any, width: Any, phase: Any, row_class: Any,
    classes: Any, bounds: Any, segments: Any, starts: Any, words: Any,
) -> Any:  # fmt: skip
    """Fill ``words`` from the end; returns where the section starts."""
    segment_of = np.zeros(BYTES, np.uint8)
    _segment_of(bounds, segments, segment_of)
    sizes = np.zeros(classes * segments, np.int64)
    stop = np.zeros(classes * segments + 1, np.int64)
    row: Any = 0
    next_row = width - phase
    for position in positions:
        while position >= next_row:
            next_row += width
            row += 1
        stop[1 + row_class[row] * segments + segment_of[exponents[position]]] += 1
    for string in range(classes * segments):
        stop[string + 1] += stop[string]
    used = stop[:-1].copy()
    cells = np.empty(positions.size, np.uint32)
    place: Any = 0
    listed = 0
    for row in range(row_class.size):
        end = min(extent, (row + 1) * width - phase)
        string = np.int64(row_class[row]) * segments
        while place < end:
            count = min(_WINDOW, end - place)
            ones = _U(0)
            while listed < positions.size and positions[listed] < place + count:
                ones |= _ONE << _U(positions[listed] - place)
                listed += 1
            _string(exponents, place, count, ones, bounds, segments, string, sizes, used, cells)
            place += count
    states = np.empty(4, np.uint64)
    states[:] = _LEAST
    at = words.size
    for string in range(classes * segments - 1, -1, -1):
        at = write_runs(
            states, cells, stop[string], stop[string + 1], sizes[string], starts, words, at
        )
    if classes > 1:
        at = write_classes(states, words, at, row_class, sizes_of(row_class, classes))
    x, y, z, u = states[0], states[1], states[2], states[3]
    for segment in range(segments - 1, 0, -1):
        u, at = write_field(u, _U(bounds[segment]), _U(8), words, at)
        x, y, z, u = u, x, y, z
    for field, bits in ((segments - 1, 4), (classes - 1, 4), (phase, 16)):
        u, at = write_field(u, _U(field), _U(bits), words, at)
        x, y, z, u = u, x, y, z
    states[0], states[1], states[2], states[3] = x, y, z, u
    return close_section(states, words, at)


def write_base_blocks(
    positions: NDArray[np.uint32], exponents: NDArray[np.uint8], extent: int, width: int, phase: int
) -> NDArray[np.uint8]:
    """The section of ascending positions, in the classes and segments that this writer chooses.

    Args:
        positions: uint32 [m] of non-zeros, m > 0; the last is ``extent`` − 1.
        exponents: uint8 [extent or more], the exponent byte of the base's weight at each position.
        extent: entries that the section describes.
        width: entries of a row.
        phase: entries of the first row that come before entry 0.
    """
    rows = -(-(phase + extent) // width)
    row_class = np.zeros(rows, np.uint8)
    bounds = np.zeros(SEGMENTS + 1, np.int64)
    classes, segments = _choose(positions, exponents, extent, width, phase, row_class, bounds)
    # Every step writes at most one word; an escape stands for at least one entry.
    steps = 2 * positions.size + extent + rows + 2 * 256 + 32 + 3 + SEGMENTS
    words = np.empty(steps + STATE_WORDS + 1, np.uint16)
    start = _write(
        positions, exponents, extent, width, phase, row_class, classes, bounds, segments,
        run_starts(), words,
    )  # fmt: skip
    return words[start:].view(np.uint8)
