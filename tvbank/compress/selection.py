"""Selecting the largest entries exactly, by radix: a few bits of their patterns a pass.

Magnitudes of floats are ordered like their patterns of 31 bits. A pass counts entries by some bits
of their patterns, among those that begin with the bits that earlier passes chose; ``locate`` then
chooses the next bits. Nothing is sorted, and no entry is kept, so that units may be of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress.lossy import Difference
from tvbank.compress.protocol import Each

#: Bits of a magnitude's pattern that a pass counts: how far they are shifted, how many they are.
Digit = tuple[int, int]

#: The passes over a unit: upper bits first.
_DIGITS: Final[tuple[Digit, ...]] = ((20, 11), (10, 10), (0, 10))
#: Magnitudes that the last pass distinguishes.
_FINEST: Final = 2 ** _DIGITS[-1][1]
#: Sums are kept apart by position modulo this, so that a core can add many at once, and whatever
#: the core, in the same order.
_LANES: Final = 64
_MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
_SIGN: Final = np.uint32(0x80000000)


def count(
    entries: NDArray[np.float32],
    prefixes: tuple[int, int],
    digit: Digit,
    counts: NDArray[np.int64],
) -> None:
    """Count entries by some bits of their magnitudes' patterns; zeros are not counted.

    Args:
        entries: any number of them, contiguous.
        prefixes: what the bits above those of the digit must be in positive and in negative
            entries; -1 where nothing is to be counted.
        digit: the bits; those that begin at the highest have no prefix.
        counts: [2, 2 ** bits], by sign and value of the bits; is added to.
    """
    shift, bits = digit
    above = np.uint32(31 - shift - bits)
    if not above:
        _count_all(entries, shift, counts.reshape(-1))
        return
    starts = [np.uint32(prefix if prefix >= 0 else 2**32 - 1) for prefix in prefixes]
    _count(entries, starts[0], starts[1] | np.uint32(1) << above, shift, bits, counts)


def locate(counts: NDArray[np.int64], rank: int) -> tuple[int, int]:
    """Where the entry of a rank is, from 0 and from the least: its place, and its rank there.

    If there are not so many entries, the place is the number of places.
    """
    ends = np.cumsum(counts)
    place = int(np.searchsorted(ends, rank, side="right"))
    return place, rank - int(ends[place - 1] if place else 0)


@final
@dataclass(frozen=True)
class Selection:
    """What a drop share keeps of a unit; of pairs, the first is for positive entries.

    Attributes:
        least: the smallest kept magnitude; infinity if nothing of that sign is kept.
        last: position of the last entry of exactly that magnitude that is kept.
        kept: number of kept entries of both signs.
        kept_squares: sum of their squares.
        all_squares: sum of the squares of all entries.
    """

    least: tuple[np.float32, np.float32]
    last: tuple[int, int]
    kept: int
    kept_squares: float
    all_squares: float


def select(delta: Difference, drop: Fraction, each: Each) -> Selection:
    """Find what is left when ``floor(drop * n)`` of the n entries of each sign are dropped.

    Entries of equal magnitude at the threshold are dropped from the end.

    Args:
        delta: the entries; zeros have no sign and are never kept.
        drop: share to drop of each sign, 0 <= drop < 1.
        each: applies a function to the ranges of the unit, here or on several cores.

    Raises:
        NonFiniteError: an entry is not finite.
    """
    ranges = delta.ranges()
    prefixes, ranks, kept = (0, 0), (-1, -1), 0
    parts: list[_Counted] = []
    for digit in _DIGITS:
        parts = list(each(partial(_count_range, delta, prefixes, digit), ranges))
        counts = sum((part.counts for part in parts), np.zeros((2, 1 << digit[1]), np.int64))
        if ranks[0] < 0:
            quotas = (math.floor(drop * int(of_sign.sum())) for of_sign in counts)
            ranks = next(quotas), next(quotas)
        (first, rank), (second, other) = (locate(counts[sign], ranks[sign]) for sign in (0, 1))
        kept += int(counts[0, first + 1 :].sum()) + int(counts[1, second + 1 :].sum())
        ranks = rank, other
        prefixes = (
            _longer(prefixes[0], first, digit[1]),
            _longer(prefixes[1], second, digit[1]),
        )
    ends = [_end(delta, ranges, parts, sign, prefixes[sign], ranks[sign]) for sign in (0, 1)]
    return Selection(
        least=(ends[0].least, ends[1].least),
        last=(ends[0].last, ends[1].last),
        kept=kept + ends[0].equal + ends[1].equal,
        kept_squares=math.fsum([p.above_squares for p in parts] + [e.squares for e in ends]),
        all_squares=math.fsum(part.all_squares for part in parts),
    )


def polarise(
    block: NDArray[np.float32], start: int, selection: Selection, magnitude: np.float32
) -> None:
    """Replace kept entries by ``±magnitude`` and all others by zero, in place.

    Args:
        block: consecutive entries.
        start: position of the first of them in the unit.
        selection: what to keep of the unit.
        magnitude: of every kept entry.
    """
    least, last = selection.least, selection.last
    cuts = sorted(min(max(position + 1 - start, 0), len(block)) for position in last)
    begin = 0
    for end in (*cuts, len(block)):
        reached = [
            value if start + begin <= position else np.nextafter(value, np.float32(np.inf))
            for value, position in zip(least, last, strict=True)
        ]
        _polarise(block[begin:end], reached[0], reached[1], magnitude)
        begin = end


@final
@dataclass(frozen=True)
class _Counted:
    """One range of a unit, counted.

    Attributes:
        counts: int64 [2, 2 ** bits], by sign and value of the counted bits.
        above_squares: sum of the squares of entries with larger magnitudes than those counted.
        all_squares: sum of the squares of all entries.
    """

    counts: NDArray[np.int64]
    above_squares: float = 0.0
    all_squares: float = 0.0


def _count_range(
    delta: Difference, prefixes: tuple[int, int], digit: Digit, part: tuple[int, int]
) -> _Counted:
    """Count one range of a unit; the last digit also sums squares."""
    shift, bits = digit
    counts = np.zeros((2, 2**bits), np.int64)
    above, every = np.zeros(_LANES), np.zeros(_LANES)
    for _, block in delta.blocks(part):
        count(block, prefixes, digit, counts)
        if shift == 0:
            _sum(block, _least_above(prefixes[0], bits), -_least_above(prefixes[1], bits),
                 above, every)  # fmt: skip
    return _Counted(counts, float(above.sum()), float(every.sum()))


def _longer(prefix: int, place: int, bits: int) -> int:
    """A prefix and the bits that follow it; -1 if there was no entry to find."""
    return -1 if prefix < 0 or place >> bits else prefix << bits | place


@final
@dataclass(frozen=True)
class _End:
    """The smallest kept entries of one sign.

    Attributes:
        least: their magnitude; infinity if nothing of that sign is kept.
        last: position of the last of them.
        equal: how many of exactly that magnitude are kept.
        squares: sum of the squares of all kept entries that the last level counted.
    """

    least: np.float32
    last: int
    equal: int
    squares: float


def _end(
    delta: Difference,
    ranges: Sequence[tuple[int, int]],
    parts: Sequence[_Counted],
    sign: int,
    pattern: int,
    surplus: int,
) -> _End:
    """Sum what is kept of the magnitudes that the last level counted.

    Args:
        delta: the entries.
        ranges: of the unit.
        parts: what the last level counted in each.
        sign: 0 for positive entries, 1 for negative ones.
        pattern: of the smallest kept magnitude; -1 if the unit has no entries of that sign.
        surplus: how many entries of that magnitude are dropped.
    """
    if pattern < 0:
        return _End(np.float32(np.inf), -1, 0, 0.0)
    counts = sum((part.counts[sign] for part in parts), np.zeros(_FINEST, np.int64))
    place = pattern % _FINEST
    equal = int(counts[place]) - surplus
    counts[place] = equal
    kept = np.flatnonzero(counts[place:])
    magnitudes = (kept + pattern).astype(np.uint32).view(np.float32)
    numbers = counts[place:][kept]
    squares = numbers * np.square(magnitudes, dtype=np.float64)
    last = delta.size
    if surplus:
        by_range = (int(part.counts[sign, place]) for part in parts)
        value = -magnitudes[0] if sign else magnitudes[0]
        last = _position(delta, ranges, by_range, value, equal - 1)
    return _End(magnitudes[0], last, equal, math.fsum(squares))


def _position(
    delta: Difference,
    ranges: Sequence[tuple[int, int]],
    equal: Iterable[int],
    value: np.float32,
    rank: int,
) -> int:
    """Position of the entry of a rank, counted from 0, among those that equal a value.

    Args:
        delta: the entries.
        ranges: of the unit.
        equal: number of entries of that value in each range.
        value: the value.
        rank: less than the sum of ``equal``.
    """
    for (start, stop), number in zip(ranges, equal, strict=False):
        if rank < number:
            return start + int(np.flatnonzero(delta.block(start, stop) == value)[rank])
        rank -= number
    raise AssertionError("the entries changed while they were counted")


def _least_above(prefix: int, bits: int) -> np.float32:
    """The least magnitude above all that begin with a prefix; infinity if there is no prefix."""
    if prefix < 0:
        return np.float32(np.inf)
    return np.uint32((prefix + 1) << bits).view(np.float32)


@kernel
def _count_all(delta: Any, shift: int, counts: Any) -> None:
    """Count by sign and upper bits: float32 to int64 [2 ** (32 - shift)]."""
    patterns = delta.view(np.uint32)
    lower = np.uint32(shift)
    zeros = negative_zeros = 0
    for i in range(len(patterns)):
        counts[patterns[i] >> lower] += 1
    for i in range(len(patterns)):
        zeros += 1 if patterns[i] == np.uint32(0) else 0
        negative_zeros += 1 if patterns[i] == _SIGN else 0
    counts[0] -= zeros
    counts[len(counts) // 2] -= negative_zeros


@kernel
def _count(delta: Any, positive: Any, negative: Any, shift: int, bits: int, counts: Any) -> None:
    """Count entries whose bits above the counted ones, sign included, are one of two values."""
    patterns = delta.view(np.uint32)
    lower, upper = np.uint32(shift), np.uint32(shift + bits)
    mask = np.uint32((1 << bits) - 1)
    # Few entries are counted: whether any of eight is takes one look at their flags.
    flags = np.zeros((len(patterns) + 7) // 8 * 8, np.uint8)
    for i in range(len(patterns)):
        start = patterns[i] >> upper
        flags[i] = np.uint8(start == positive) | np.uint8(start == negative)
    eights = flags.view(np.uint64)
    for number in range(len(eights)):
        i, eight = 8 * number, eights[number]
        while eight:
            if eight & np.uint64(1) and patterns[i] & _MAGNITUDE:
                counts[patterns[i] >> np.uint32(31), (patterns[i] >> lower) & mask] += 1
            i, eight = i + 1, eight >> np.uint64(8)


@kernel
def _sum(delta: Any, positive: Any, negative: Any, above: Any, every: Any) -> None:
    """Add to ``every`` the squares of all entries, to ``above`` of those outside the limits."""
    for start in range(0, len(delta), _LANES):
        part = delta[start : start + _LANES]
        for lane in range(len(part)):
            square = np.float64(part[lane]) * np.float64(part[lane])
            every[lane] += square
            above[lane] += square if (part[lane] >= positive) | (part[lane] <= negative) else 0.0


@kernel
def _polarise(delta: Any, positive: Any, negative: Any, magnitude: Any) -> None:
    for i in range(len(delta)):
        value = delta[i]
        sign = np.float32(value >= positive) - np.float32(value <= -negative)
        delta[i] = sign * magnitude
