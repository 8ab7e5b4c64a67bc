"""Selecting the largest entries of each sign exactly, in three passes over a unit of any size.

Each pass finds more bits of the quantile's magnitude. Nothing is sorted, and no entry is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel
from tvbank.compress._difference import Difference
from tvbank.compress._each import Each
from tvbank.compress._histogram import FINEST, LEVELS, Counted, count, locate

#: Entries of one range. Sums are rounded once a range: another length would be other last bits.
_RANGE = 2**22

_Range = tuple[int, int]


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
    starts = range(0, delta.size, _RANGE)
    ranges = [(start, min(start + _RANGE, delta.size)) for start in starts]
    prefixes, ranks, kept = (0, 0), (-1, -1), 0
    parts: list[Counted] = []
    for level in LEVELS:
        parts = list(each(partial(count, delta, prefixes, level), ranges))
        counts = sum((part.counts for part in parts), np.zeros((2, 1 << level[1]), np.int64))
        if ranks[0] < 0:
            quotas = (math.floor(drop * int(of_sign.sum())) for of_sign in counts)
            ranks = next(quotas), next(quotas)
        found = [locate(counts[sign], ranks[sign]) for sign in (0, 1)]
        kept += sum(int(counts[sign, found[sign][0] + 1 :].sum()) for sign in (0, 1))
        ranks = found[0][1], found[1][1]
        prefixes = (
            _longer(prefixes[0], found[0][0], level[1]),
            _longer(prefixes[1], found[1][0], level[1]),
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
    ranges: Sequence[_Range],
    parts: Sequence[Counted],
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
    counts = sum((part.counts[sign] for part in parts), np.zeros(FINEST, np.int64))
    place = pattern % FINEST
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
    delta: Difference, ranges: Sequence[_Range], equal: Iterable[int], value: np.float32, rank: int
) -> int:
    """Position of the entry of a rank, counted from 0, among those that equal a value.

    Args:
        delta: the entries.
        ranges: of the unit.
        equal: number of entries of that value in each range.
        value: the value.
        rank: less than the sum of ``equal``.
    """
    for (start, stop), found in zip(ranges, equal, strict=False):
        if rank < found:
            return start + int(np.flatnonzero(delta.block(start, stop) == value)[rank])
        rank -= found
    raise AssertionError("the entries changed while they were counted")


@kernel
def _polarise(delta: Any, positive: Any, negative: Any, magnitude: Any) -> None:
    for i in range(len(delta)):
        value = delta[i]
        sign = np.float32(value >= positive) - np.float32(value <= -negative)
        delta[i] = sign * magnitude
