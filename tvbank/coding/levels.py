"""Levels of the factors of packed products: small integers under a binary coder that adapts.

A level is a number of bits, one decision each bit more, then its sign and the bits below its
highest. Decisions learn their probability as they go, from levels of the same factor whose
neighbour in the component before was as large; nothing is sent of it. The coder is a range coder
of 32 bits in integers only (spec/products.md, "Packed factors").
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.kernel import kernel

#: Largest level of either sign.
LARGEST: Final = 2**15 - 1
_BITS: Final = 15
#: Decisions of a factor: whether a level has more bits, by its neighbour's size, 15 each; then, by
#: its number of bits, the highest two of those below the highest: 3 each.
_NEIGHBOURS: Final = 3
_LENGTHS: Final = _NEIGHBOURS * _BITS
_DECISIONS: Final = _LENGTHS + 3 * (_BITS + 1)

#: A probability, of a 0, is out of 2^15: the mean of one that learns fast and one that is slow.
_ONE: Final = 1 << 15
_FAST, _SLOW = 4, 7
_TOP: Final = 1 << 24
_MASK: Final = 0xFFFFFFFF
#: What the coder holds: see ``_decide`` and ``_choose``.
_RANGE, _CODE, _AT = 0, 1, 2
_LOW, _CACHE, _PENDING = 1, 3, 4


def decode_levels(data: NDArray[np.uint8], rows: int, columns: int, count: int) -> Any:
    """The levels of both factors.

    Args:
        data: uint8, all bytes of the coder; nothing follows them.
        rows: of B.
        columns: of A.
        count: components.

    Returns:
        int32 [count, rows + columns]: of each component the column of B, then the row of A;
        ``None`` if the coder does not end where the data do.
    """
    levels = np.zeros((count, rows + columns), np.int32)
    chances = np.full((2, _DECISIONS, 2), _ONE // 2, np.int64)
    coder = np.zeros(3, np.int64)
    used = _decode(data, levels, rows, chances, coder)
    return levels if used >= data.size else None


def encode_levels(levels: NDArray[np.int32], rows: int) -> NDArray[np.uint8]:
    """The bytes of levels [count, rows + columns]; the inverse of ``decode_levels``."""
    chances = np.full((2, _DECISIONS, 2), _ONE // 2, np.int64)
    coder = np.zeros(5, np.int64)
    # A decision takes at most 10 bits (the smallest chance is 71 of 2^15), and 45 take a level.
    size = min(4 * levels.size + 2**16, 64 * levels.size + 16)
    while True:
        out = np.zeros(size, np.uint8)
        written = _encode(levels, rows, chances, coder, out)
        if written <= size:
            return out[:written]
        chances[:], size = _ONE // 2, int(written) + 16


@kernel
def _neighbour(levels: Any, component: int, at: int) -> Any:
    """0, 1 or 2: how large the level at the same place of the component before is."""
    if component == 0:
        return 0
    return min(abs(levels[component - 1, at]), 2)


@kernel
def _learn(chance: Any, bit: int) -> None:
    if bit:
        chance[0] -= chance[0] >> _FAST
        chance[1] -= chance[1] >> _SLOW
    else:
        chance[0] += (_ONE - chance[0]) >> _FAST
        chance[1] += (_ONE - chance[1]) >> _SLOW


@kernel
def _next_byte(data: Any, coder: Any) -> None:
    byte = np.int64(data[coder[_AT]]) if coder[_AT] < data.size else np.int64(0)
    coder[_CODE] = ((coder[_CODE] << 8) | byte) & _MASK
    coder[_AT] += 1


@kernel
def _read(data: Any, coder: Any, bound: int) -> Any:
    """The next bit, if a 0 has ``bound`` of the range."""
    bit = 0
    if coder[_CODE] < bound:
        coder[_RANGE] = bound
    else:
        coder[_CODE] -= bound
        coder[_RANGE] -= bound
        bit = 1
    while coder[_RANGE] < _TOP:
        coder[_RANGE] <<= 8
        _next_byte(data, coder)
    return bit


@kernel
def _decide(data: Any, coder: Any, chance: Any) -> Any:
    bit = _read(data, coder, (coder[_RANGE] >> 15) * ((chance[0] + chance[1]) >> 1))
    _learn(chance, bit)
    return bit


@kernel
def _decode(data: Any, levels: Any, rows: int, chances: Any, coder: Any) -> Any:
    coder[_RANGE] = _MASK
    for _ in range(4):
        _next_byte(data, coder)
    for component in range(levels.shape[0]):
        for at in range(levels.shape[1]):
            known = chances[0] if at < rows else chances[1]
            first = _BITS * _neighbour(levels, component, at)
            bits = 0
            while bits < _BITS and _decide(data, coder, known[first + bits]):
                bits += 1
            if bits == 0:
                continue
            negative = _read(data, coder, coder[_RANGE] >> 1)
            level, node = 1, _LENGTHS + 3 * bits
            for below in range(bits - 1):
                if below == 0:
                    bit = _decide(data, coder, known[node])
                elif below == 1:
                    bit = _decide(data, coder, known[node + 1 + (level & 1)])
                else:
                    bit = _read(data, coder, coder[_RANGE] >> 1)
                level = 2 * level + bit
            levels[component, at] = -level if negative else level
    return coder[_AT]


@kernel
def _put(out: Any, coder: Any, byte: int) -> None:
    if coder[_AT] < out.size:
        out[coder[_AT]] = byte
    coder[_AT] += 1


@kernel
def _shift(out: Any, coder: Any) -> None:
    """Move the top byte of ``low`` out, once no carry can reach it any more."""
    low = coder[_LOW]
    if low < 0xFF000000 or low > _MASK:
        carry = low >> 32
        if coder[_CACHE] >= 0:
            _put(out, coder, coder[_CACHE] + carry)
        for _ in range(coder[_PENDING]):
            _put(out, coder, (0xFF + carry) & 0xFF)
        coder[_PENDING] = 0
        coder[_CACHE] = (low >> 24) & 0xFF
    else:
        coder[_PENDING] += 1
    coder[_LOW] = (low << 8) & _MASK


@kernel
def _write(out: Any, coder: Any, bound: int, bit: int) -> None:
    if bit:
        coder[_LOW] += bound
        coder[_RANGE] -= bound
    else:
        coder[_RANGE] = bound
    while coder[_RANGE] < _TOP:
        coder[_RANGE] <<= 8
        _shift(out, coder)


@kernel
def _choose(out: Any, coder: Any, chance: Any, bit: int) -> None:
    _write(out, coder, (coder[_RANGE] >> 15) * ((chance[0] + chance[1]) >> 1), bit)
    _learn(chance, bit)


@kernel
def _encode(levels: Any, rows: Any, chances: Any, coder: Any, out: Any) -> Any:
    coder[:] = 0
    coder[_RANGE], coder[_CACHE] = _MASK, -1
    for component in range(levels.shape[0]):
        for at in range(levels.shape[1]):
            known = chances[0] if at < rows else chances[1]
            first = _BITS * _neighbour(levels, component, at)
            level: Any = np.int64(levels[component, at])
            size: Any = abs(level)
            bits = 0
            while size >> bits:
                _choose(out, coder, known[first + bits], 1)
                bits += 1
            if bits < _BITS:
                _choose(out, coder, known[first + bits], 0)
            if bits == 0:
                continue
            _write(out, coder, coder[_RANGE] >> 1, 1 if level < 0 else 0)
            node = _LENGTHS + 3 * bits
            for below in range(bits - 1):
                rest = size >> (bits - 2 - below)
                if below == 0:
                    _choose(out, coder, known[node], rest & 1)
                elif below == 1:
                    _choose(out, coder, known[node + 1 + ((rest >> 1) & 1)], rest & 1)
                else:
                    _write(out, coder, coder[_RANGE] >> 1, rest & 1)
    # Of the numbers in the range, the one with most zeros at its end, which are left out.
    for kept in (24, 16, 8):
        below_it = (1 << kept) - 1
        ended = (coder[_LOW] + below_it) & ~below_it
        if ended < coder[_LOW] + coder[_RANGE]:
            coder[_LOW] = ended
            break
    for _ in range(5):
        _shift(out, coder)
    end = coder[_AT]
    if end <= out.size:
        while end > 0 and out[end - 1] == 0:
            end -= 1
    return end
