"""The writer of entropy-coded steps: laws of symbols, symbols, low bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.costs import COST_BITS, weighted_log
from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.kernel import kernel
from tvbank.coding.magnitudes import (
    BUCKETS,
    COUNT_BITS,
    LENGTH_BITS,
    LOW_BITS,
    ORIGIN_BITS,
    SCALE_BITS,
    SYMBOLS,
    bucket_of,
    fit_law,
    magnitude_of,
)
from tvbank.coding.rans import (
    FIRST_STATE,
    STATE_WORDS,
    close_section,
    write_field,
    write_symbol,
)
from tvbank.coding.segments import BYTES, SEGMENTS, segment_counts

_U = np.uint64
_LEAST = _U(FIRST_STATE)
_WORD_BITS, _ORIGIN_BITS = _U(64), _U(ORIGIN_BITS)
#: Turns that a law takes at most: scale, origin, number of symbols; length and bits of each.
_LAW_TURNS = 4 + 2 * SYMBOLS
#: Scales of equal buckets that are tried, from the finest that holds all magnitudes on.
_TRIED = 3
#: What a symbol costs in a law, about.
_SYMBOL_BITS = 8
#: Magnitudes below this are counted one by one, and looked up.
_SMALL = 256


@kernel
def _tally(steps: Any, classes: Any, small: Any, large: Any) -> Any:
    """Count steps of small magnitudes by class, magnitude and sign, and list the others.

    Args:
        steps: uint32 [m].
        classes: uint8 [m].
        small: int64 [classes, 2 · ``_SMALL``], zeros; step 2 · magnitude + sign is counted.
        large: uint32 [m], overwritten with the indices of steps of greater magnitudes.

    Returns:
        Their number.
    """
    listed = 0
    for index in range(steps.size):
        magnitude, sign = magnitude_of(steps[index])
        if magnitude < _U(_SMALL):
            small[classes[index], _U(2) * magnitude + sign] += 1
        else:
            large[listed] = np.uint32(index)
            listed += 1
    return listed


@kernel
def _ranges(steps: Any, classes: Any, small: Any, large: Any) -> Any:
    """Of each class the least and the greatest magnitude, uint64 [number, 2]."""
    found = np.zeros((small.shape[0], 2), np.uint64)
    for each in range(small.shape[0]):
        for magnitude in range(_SMALL):
            if small[each, 2 * magnitude] + small[each, 2 * magnitude + 1]:
                if found[each, 1] == _U(0):
                    found[each, 0] = _U(magnitude)
                found[each, 1] = _U(magnitude)
    for index in large:
        magnitude, _ = magnitude_of(steps[index])
        each = classes[index]
        if found[each, 1] == _U(0) or magnitude < found[each, 0]:
            found[each, 0] = magnitude
        found[each, 1] = max(found[each, 1], magnitude)
    return found


@kernel
def _finest(least: Any, most: Any) -> Any:
    """The finest scale of equal buckets that holds all magnitudes of a range."""
    scale = _U(1)
    while (most >> (scale - _U(1))) - (least >> (scale - _U(1))) >= _U(BUCKETS):
        scale += _U(1)
    return scale


@kernel
def _count(
    steps: Any, classes: Any, small: Any, large: Any, scales: Any, origins: Any, counts: Any,
    low: Any,
) -> None:  # fmt: skip
    """Count symbols by class and by each of the scales that are tried, and their low bits."""
    for each in range(small.shape[0]):
        for step in range(2, 2 * _SMALL):
            if small[each, step]:
                for tried in range(scales.shape[1]):
                    bucket, _, bits = bucket_of(
                        _U(step >> 1), scales[each, tried], origins[each, tried]
                    )
                    counts[each, tried, _U(2) * bucket + _U(step & 1)] += small[each, step]
                    low[each, tried] += np.int64(bits) * small[each, step]
    for index in large:
        each = classes[index]
        magnitude, sign = magnitude_of(steps[index])
        for tried in range(scales.shape[1]):
            bucket, _, bits = bucket_of(magnitude, scales[each, tried], origins[each, tried])
            counts[each, tried, _U(2) * bucket + sign] += 1
            low[each, tried] += np.int64(bits)


@kernel
def _cost(counts: Any, low: Any) -> Any:
    total: Any = 0
    cost = low << COST_BITS
    last = 0
    for symbol in range(counts.size):
        if counts[symbol]:
            total += counts[symbol]
            cost -= weighted_log(counts[symbol])
            last = symbol
    return cost + weighted_log(total) + ((last + 1) * _SYMBOL_BITS << COST_BITS)


@kernel
def choose_laws(steps: Any, classes: Any, scales: Any, origins: Any, laws: Any) -> Any:
    """Choose the scale and the law of each class.

    Args:
        steps: uint32 [m], patterns of int32, none zero.
        classes: uint8 [m], the class of each step.
        scales: uint64 [classes], overwritten.
        origins: uint64 [classes], overwritten.
        laws: int64 [classes, SYMBOLS], overwritten.

    Returns:
        The number of low bits of all steps.
    """
    number = scales.size
    small = np.zeros((number, 2 * _SMALL), np.int64)
    indices = np.empty(steps.size, np.uint32)
    large = indices[: _tally(steps, classes, small, indices)]
    ranges = _ranges(steps, classes, small, large)
    tried = np.zeros((number, 1 + _TRIED), np.uint64)
    starts = np.zeros((number, 1 + _TRIED), np.uint64)
    for each in range(number):
        finest = _finest(ranges[each, 0], ranges[each, 1])
        for rank in range(_TRIED):
            scale = min(finest + _U(rank), _U(LOW_BITS + 1))
            tried[each, 1 + rank] = scale
            starts[each, 1 + rank] = ranges[each, 0] >> (scale - _U(1))
    counts = np.zeros((number, 1 + _TRIED, SYMBOLS), np.int64)
    low = np.zeros((number, 1 + _TRIED), np.int64)
    _count(steps, classes, small, large, tried, starts, counts, low)
    bits = np.int64(0)
    for each in range(number):
        best, least = 0, _cost(counts[each, 0], low[each, 0])
        for rank in range(1, 1 + _TRIED):
            cost = _cost(counts[each, rank], low[each, rank])
            if cost < least:
                best, least = rank, cost
        scales[each], origins[each] = tried[each, best], starts[each, best]
        fit_law(counts[each, best], laws[each])
        bits += low[each, best]
    return bits


@kernel
def _cut(steps: Any, classes: Any, scales: Any, origins: Any, symbols: Any, words: Any) -> None:
    """Write the symbol of each step to ``symbols`` (uint8), and low bits to ``words``."""
    # Looked up for small magnitudes, [class, magnitude]: the symbol without its sign, and how many
    # low bits there are.
    known = np.zeros((scales.size, _SMALL, 2), np.uint8)
    for each in range(scales.size):
        for magnitude in range(1, _SMALL):
            bucket, _, bits = bucket_of(_U(magnitude), scales[each], origins[each])
            known[each, magnitude, 0] = np.uint8(_U(2) * bucket)  # read for this class's steps only
            known[each, magnitude, 1] = np.uint8(bits)
    pending = filled = _U(0)
    index = 0
    for place in range(steps.size):
        each = classes[place]
        magnitude, sign = magnitude_of(steps[place])
        if magnitude < _U(_SMALL):
            symbols[place] = np.uint8(known[each, magnitude, 0] | np.uint8(sign))
            bits = _U(known[each, magnitude, 1])
            low = magnitude & ((_U(1) << bits) - _U(1))
        else:
            bucket, low, bits = bucket_of(magnitude, scales[each], origins[each])
            symbols[place] = np.uint8(_U(2) * bucket + sign)
        pending |= low << filled
        if filled + bits >= _WORD_BITS:
            words[index] = pending
            index += 1
            pending = low >> (_WORD_BITS - filled)
            filled = filled + bits - _WORD_BITS
        else:
            filled += bits
    if filled:
        words[index] = pending


@kernel
def _write_law(
    x: Any, y: Any, z: Any, u: Any, scale: Any, origin: Any, law: Any, words: Any, at: Any
) -> Any:
    """Write the turns of one law, from the last to the first."""
    count = law.size
    while law[count - 1] == 0:
        count -= 1
    for symbol in range(count - 1, -1, -1):
        frequency = law[symbol]
        length = 0
        while frequency >> length:
            length += 1
        if length > 1:
            low = _U(frequency - (1 << (length - 1)))
            u, at = write_field(u, low, _U(length - 1), words, at)
            x, y, z, u = u, x, y, z
        u, at = write_field(u, _U(length), _U(LENGTH_BITS), words, at)
        x, y, z, u = u, x, y, z
    u, at = write_field(u, _U(count), _U(COUNT_BITS), words, at)
    x, y, z, u = u, x, y, z
    if scale:
        u, at = write_field(u, origin >> _ORIGIN_BITS, _ORIGIN_BITS, words, at)
        x, y, z, u = u, x, y, z
        u, at = write_field(u, origin & _U(0xFFFF), _ORIGIN_BITS, words, at)
        x, y, z, u = u, x, y, z
    u, at = write_field(u, scale, _U(SCALE_BITS), words, at)
    return u, x, y, z, at


@kernel
def _write_coder(
    symbols: Any, classes: Any, scales: Any, origins: Any, laws: Any, fields: Any, widths: Any,
    words: Any,
) -> Any:  # fmt: skip
    """Fill ``words`` from the end; returns where the coder's part starts."""
    starts = np.zeros((laws.shape[0], SYMBOLS), np.int64)
    for each in range(laws.shape[0]):
        slots: Any = 0
        for symbol in range(SYMBOLS):
            starts[each, symbol] = slots
            slots += laws[each, symbol]
    at = words.size
    x = y = z = u = _LEAST
    for index in range(symbols.size - 1, -1, -1):
        each, symbol = classes[index], symbols[index]
        first, frequency = _U(starts[each, symbol]), _U(laws[each, symbol])
        u, at = write_symbol(u, first, frequency, words, at)
        x, y, z, u = u, x, y, z
    for each in range(laws.shape[0] - 1, -1, -1):
        x, y, z, u, at = _write_law(x, y, z, u, scales[each], origins[each], laws[each], words, at)
    for index in range(fields.size - 1, -1, -1):
        u, at = write_field(u, _U(fields[index]), _U(widths[index]), words, at)
        x, y, z, u = u, x, y, z
    states = np.empty(4, np.uint64)
    states[0], states[1], states[2], states[3] = x, y, z, u
    return close_section(states, words, at)


@kernel
def _count_by_byte(steps: Any, exponents: Any, counts: Any) -> None:
    for index in range(steps.size):
        magnitude, sign = magnitude_of(steps[index])
        bucket, _, _ = bucket_of(magnitude, _U(0), _U(0))
        counts[exponents[index], _U(2) * bucket + sign] += 1


@kernel
def _segments_of(exponents: Any, bounds: Any, number: Any, classes: Any) -> None:
    """The segment of each exponent byte, uint8."""
    segment_of = np.zeros(BYTES, np.uint8)
    for segment in range(number):
        for byte in range(bounds[segment], bounds[segment + 1]):
            segment_of[byte] = np.uint8(segment)
    for index in range(exponents.size):
        classes[index] = segment_of[exponents[index]]


def write_base_steps(steps: NDArray[np.uint32], exponents: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The section of some steps, none zero, by the law of the exponent of the base's weight.

    Args:
        steps: uint32 [m], patterns of int32, m > 0.
        exponents: uint8 [m], the exponent byte of the base's weight at each.
    """
    counts = np.zeros((BYTES, SYMBOLS), np.int64)
    _count_by_byte(steps, exponents, counts)
    bounds = np.zeros(SEGMENTS + 1, np.int64)
    number = segment_counts(counts, _SYMBOL_BITS << COST_BITS, bounds)
    classes = np.empty(steps.size, np.uint8)
    _segments_of(exponents, bounds, number, classes)
    fields = bounds[:number].copy()
    fields[0] = number - 1
    widths = np.full(number, 8, np.int64)
    widths[0] = 4
    return write_steps(steps, classes, number, fields, widths)


def write_steps(
    steps: NDArray[np.uint32],
    classes: NDArray[np.uint8],
    number: int,
    fields: NDArray[np.int64],
    widths: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """The section of some steps, none zero, by the law of the class of each.

    Args:
        steps: uint32 [m], patterns of int32, m > 0.
        classes: uint8 [m], below ``number``; every class has a step.
        number: of classes.
        fields: int64 [k], plain fields that come before the laws.
        widths: int64 [k], their bits.
    """
    scales, origins = np.empty((2, number), np.uint64)
    laws = np.empty((number, SYMBOLS), np.int64)
    bits = choose_laws(steps, classes, scales, origins, laws)
    symbols = np.empty(steps.size, np.uint8)
    low = np.zeros(-(-bits // 64), np.uint64)
    _cut(steps, classes, scales, origins, symbols, low)
    turns = steps.size + number * _LAW_TURNS + fields.size
    words = np.empty(turns + STATE_WORDS + 1, np.uint16)
    start = _write_coder(symbols, classes, scales, origins, laws, fields, widths, words)
    coder = words[start:].view(np.uint8)
    size = np.array([coder.size], "<u4").view(np.uint8)
    return np.concatenate((size, coder, low.view(np.uint8)[: bytes_of_bits(bits)]))
