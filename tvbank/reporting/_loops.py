"""Compiled loops over the entries of one chunk."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.kernel import kernel, ones_in, trailing_zeros

#: Bins of magnitudes: the 8 bits of the exponent and 7 of the mantissa.
BINS: Final = 2**15

_ONE, _SIX, _REST = np.uint64(1), np.uint32(6), np.uint32(63)


@kernel
def tally(entries: Any, counts: Any, squares: Any) -> None:
    """Count entries by the upper bits of their magnitudes, and add up their squares there.

    Args:
        entries: float32.
        counts: int64 [``BINS``], is added to.
        squares: float64 [``BINS``], is added to.
    """
    patterns = entries.view(np.uint32)
    for index in range(patterns.size):
        place = (patterns[index] & np.uint32(0x7FFFFFFF)) >> np.uint32(16)
        counts[place] += 1
        squares[place] += np.float64(entries[index]) * np.float64(entries[index])


@kernel
def spread(positions: Any, entries: Any, words: Any, negative: Any, dense: Any) -> None:
    """Lay the entries of one task out: which there are, which are negative, and what they are.

    Args:
        positions: uint32, in the chunk.
        entries: float32 or int32.
        words: uint64 [ceil(n / 64)] of zeros.
        negative: the same.
        dense: float32 [n]; only what is not zero is written.
    """
    for index in range(positions.size):
        position = positions[index]
        bit = _ONE << np.uint64(position & _REST)
        words[position >> _SIX] |= bit
        if entries[index] < 0:
            negative[position >> _SIX] |= bit
        dense[position] = np.float32(entries[index])


@kernel
def meet(words: Any, negative: Any, dense: Any, both: Any, agree: Any, dots: Any) -> None:
    """What each two of k tasks have in common.

    Args:
        words: uint64 [k, w].
        negative: the same.
        dense: float32 [k, n].
        both: int64 [k, k], is added to above its diagonal.
        agree: the same, of entries with the same sign.
        dots: float64 [k, k], the same of products of entries.
    """
    for first in range(len(words)):
        for second in range(first + 1, len(words)):
            for index in range(words.shape[1]):
                common = words[first, index] & words[second, index]
                if not common:
                    continue
                other = negative[first, index] ^ negative[second, index]
                both[first, second] += np.int64(ones_in(common))
                agree[first, second] += np.int64(ones_in(common & ~other))
                while common:
                    at = 64 * index + np.int64(trailing_zeros(common))
                    dots[first, second] += np.float64(dense[first, at]) * dense[second, at]
                    common &= common - _ONE


@kernel
def distance(first: Any, second: Any) -> Any:
    """The square of the Euclidean distance of two float32 arrays, in float64."""
    lanes = np.zeros(8)
    whole = first.size // 8 * 8
    for start in range(0, whole, 8):
        for lane in range(8):
            apart = np.float64(first[start + lane]) - np.float64(second[start + lane])
            lanes[lane] += apart * apart
    for index in range(whole, first.size):
        apart = np.float64(first[index]) - np.float64(second[index])
        lanes[0] += apart * apart
    return lanes.sum()


@kernel
def length(entries: Any) -> Any:
    """The square of the Euclidean norm of a float32 array, in float64."""
    lanes = np.zeros(8)
    whole = entries.size // 8 * 8
    for start in range(0, whole, 8):
        for lane in range(8):
            entry = np.float64(entries[start + lane])
            lanes[lane] += entry * entry
    for index in range(whole, entries.size):
        entry = np.float64(entries[index])
        lanes[0] += entry * entry
    return lanes.sum()
