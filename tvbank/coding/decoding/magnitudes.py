"""Entropy-coded steps, decoded four at a time: symbols by the law of each, then low bits.

The inverse of ``values.laws_writer`` (spec/values.md, "magnitudes").
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.decoding.coder import LEAST, read_field, read_symbol
from tvbank.coding.decoding.given import exponent_byte
from tvbank.coding.decoding.memory import load_32, load_64, load_bits, store_32, store_64
from tvbank.coding.decoding.positions import stream_code
from tvbank.coding.faults import (
    FRAME_TRAILING,
    FRAME_TRUNCATED,
    NEEDS_BASE,
    NON_CANONICAL,
    TABLE,
    VALID,
    VALUE,
    ZERO_VALUE,
)
from tvbank.coding.kernel import inlined, kernel
from tvbank.coding.magnitudes import (
    BUCKETS,
    COUNT_BITS,
    LENGTH_BITS,
    LONGEST,
    LOW_BITS,
    ORIGIN_BITS,
    SCALE_BITS,
    bucket_start,
)
from tvbank.coding.rans import SLOTS, STATE_WORDS
from tvbank.coding.segments import SEGMENTS

_U, _U32 = np.uint64, np.uint32
_ONE, _TWO, _THREE, _FOUR, _EIGHT = _U(1), _U(2), _U(3), _U(4), _U(8)
_SCALE, _ORIGIN = _U(SCALE_BITS), _U(ORIGIN_BITS)
_COUNT, _LENGTH = _U(COUNT_BITS), _U(LENGTH_BITS)
_FREQUENCY_AT, _RANK_AT = 8, 19
_SYMBOL = _U(0xFF)
#: In an entry of the table of buckets: the least magnitude, and above it the number of low bits.
_BITS_AT, _LEAST_MASK = _U(56), _U((1 << 56) - 1)
#: Bits of a stream that four steps take at most.
_FOUR_STEPS = _U(4 * LOW_BITS)
#: Steps are below 2^31, but for the least one.
_MOST, _FAR = _U(1 << 31), _U(1 << 40)
#: 64-bit words of a law: of the table of slots, then of that of buckets.
_SLOT_WORDS: Final = SLOTS // 2
_LAW_WORDS: Final = _SLOT_WORDS + 64
_HEAD: Final = 4
#: Exponent bytes.
_BYTES: Final = 256


@kernel
def read_law(x: Any, y: Any, z: Any, u: Any, at: Any, end: Any, words: Any, table: Any) -> Any:
    """Read a law.

    Args:
        x: as the other states and ``at``, ``end``, ``words``: see ``coder.read_block``.
        y: a state.
        z: a state.
        u: a state.
        at: the next word.
        end: number of words.
        words: their address.
        table: address of the law's words.

    Returns:
        (x, y, z, u, next word, whether the symbols share the slots): the next word exceeds ``end``
        if the words do not suffice.
    """
    scale, x, at = read_field(x, _SCALE, words, at)
    x, y, z, u = y, z, u, x
    if at > end:
        return x, y, z, u, at, False
    origin = _U(0)
    if scale:
        origin, x, at = read_field(x, _ORIGIN, words, at)
        x, y, z, u = y, z, u, x
        if at > end:
            return x, y, z, u, at, False
        upper, x, at = read_field(x, _ORIGIN, words, at)
        x, y, z, u = y, z, u, x
        origin |= upper << _ORIGIN
        if at > end:
            return x, y, z, u, at, False
    buckets = table + _U(8 * _SLOT_WORDS)
    for bucket in range(BUCKETS):
        least, bits = bucket_start(_U(bucket), scale, origin)
        # A bucket beyond int32 is refused wherever it begins: ``_FAR`` stands for all of them.
        store_64(buckets + _U(8 * bucket), min(least, _FAR) | (bits << _BITS_AT))
    count, x, at = read_field(x, _COUNT, words, at)
    x, y, z, u = y, z, u, x
    if at > end or count == _U(0) or count > _U(2 * BUCKETS):
        return x, y, z, u, at, False
    start: Any = 0
    for symbol in range(np.int64(count)):
        length, x, at = read_field(x, _LENGTH, words, at)
        x, y, z, u = y, z, u, x
        if at > end or length > _U(LONGEST):
            return x, y, z, u, at, False
        frequency = np.int64(length)
        if length > _ONE:
            low, x, at = read_field(x, length - _ONE, words, at)
            x, y, z, u = y, z, u, x
            frequency = np.int64((_ONE << (length - _ONE)) | low)
        if start + frequency > SLOTS or at > end:
            return x, y, z, u, at, False
        for rank in range(frequency):
            entry = _U32(symbol | (frequency << _FREQUENCY_AT) | (rank << _RANK_AT))
            store_32(table + (_U(start + rank) << _TWO), entry)
        start += frequency
    return x, y, z, u, at, start == SLOTS


@inlined
def _step(entry: Any, law: Any, low: Any, bit: Any) -> Any:
    """(pattern of the step, next bit, whether no int32 holds it)."""
    symbol = entry & _SYMBOL
    bucket = load_64(law + _U(8 * _SLOT_WORDS) + ((symbol >> _ONE) << _THREE))
    bits = bucket >> _BITS_AT
    rest = load_bits(low, bit) & ((_ONE << bits) - _ONE)
    magnitude = (bucket & _LEAST_MASK) + rest
    negative = symbol & _ONE
    beyond = magnitude >= _MOST + negative
    return _U32((magnitude ^ (_U(0) - negative)) + negative), bit + bits, beyond


@inlined
def _law_of(laws: Any, given: Any, index: Any) -> Any:
    """The law of a step: the only one, or that of the exponent byte of the base's weight there."""
    if given is None:
        return laws
    positions, upper, shift, by_byte = given
    position = _U(load_32(positions + (index << _TWO)))
    return load_64(by_byte + (exponent_byte(upper, shift, position) << _THREE))


@kernel
def _read_all(
    states: Any, at: Any, end: Any, words: Any, laws: Any, low: Any, bits: Any, count: Any,
    out: Any, given: Any,
) -> Any:  # fmt: skip
    """Read the steps.

    Returns:
        (states, next word, next low bit, whether one is beyond int32, whether one is zero).
    """
    x, y, z, u = states
    bit = _U(0)
    beyond = zero = False
    done = _U(0)
    while done + _FOUR <= count and at + _FOUR <= end and bit + _FOUR_STEPS <= bits:
        law, second_law = _law_of(laws, given, done), _law_of(laws, given, done + _ONE)
        third_law = _law_of(laws, given, done + _TWO)
        fourth_law = _law_of(laws, given, done + _THREE)
        first, x, at = read_symbol(x, law, words, at)
        second, y, at = read_symbol(y, second_law, words, at)
        third, z, at = read_symbol(z, third_law, words, at)
        fourth, u, at = read_symbol(u, fourth_law, words, at)
        place = out + (done << _TWO)
        for lane, entry, its_law in (
            (0, first, law), (1, second, second_law), (2, third, third_law),
            (3, fourth, fourth_law),
        ):  # fmt: skip
            step, bit, far = _step(entry, its_law, low, bit)
            store_32(place + _U(4 * lane), step)
            beyond |= far
            zero |= step == _U32(0)
        done += _FOUR
    while done < count and at <= end and bit <= bits:
        law = _law_of(laws, given, done)
        entry, x, at = read_symbol(x, law, words, at)
        x, y, z, u = y, z, u, x
        step, bit, far = _step(entry, law, low, bit)
        store_32(out + (done << _TWO), step)
        beyond |= far
        zero |= step == _U32(0)
        done += _ONE
    return (x, y, z, u), at, bit, beyond, zero


@kernel
def _parts(section: Any, size: Any) -> Any:
    """(code, words of the coder, address of the low bits, their number)."""
    if size < _HEAD:
        return FRAME_TRUNCATED, _U(0), section, _U(0)
    coder = np.int64(load_32(section))
    if coder % 2 or coder < 2 * STATE_WORDS:
        return TABLE, _U(0), section, _U(0)
    if _HEAD + coder > size:
        return FRAME_TRUNCATED, _U(0), section, _U(0)
    low = section + _U(_HEAD + coder)
    return VALID, _U(coder // 2), low, _U(8 * (size - _HEAD - coder))


@kernel
def _states(words: Any) -> Any:
    x, y = _U(load_32(words)), _U(load_32(words + _U(4)))
    return x, y, _U(load_32(words + _U(8))), _U(load_32(words + _U(12)))


def decode_magnitudes(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    """The decoder of ``magnitudes``; see ``decoders``."""
    code, end, low, bits = _parts(section, size)
    if code:
        return 1 + code
    words, at = section + _U(_HEAD), _U(STATE_WORDS)
    x, y, z, u = _states(words)
    scratch = np.empty(_LAW_WORDS, np.uint64)
    law = _U(scratch.ctypes.data)
    x, y, z, u, at, shared = read_law(x, y, z, u, at, end, words, law)
    if at > end or not shared:
        return 1 + (FRAME_TRUNCATED if at > end else TABLE) + 0 * scratch.size
    states, at, bit, beyond, zero = _read_all(
        (x, y, z, u), at, end, words, law, low, bits, _U(count), out, None
    )
    code = _close(states, at, end, low, bit, bits, beyond, zero)
    return (
        1 + code + 0 * scratch.size
    )  # uses the array once more, so that numba keeps its memory until here


def decode_base_magnitudes(
    section: Any, size: Any, parameter: Any, is_float: Any, count: Any, out: Any, tables: Any,
    given: Any,
) -> Any:  # fmt: skip
    """The decoder of ``base-magnitudes``; see ``decoders``."""
    upper, shift, positions = load_64(given), load_64(given + _U(8)), load_64(given + _U(16))
    if upper == _U(0):
        return 1 + NEEDS_BASE
    code, end, low, bits = _parts(section, size)
    if code:
        return 1 + code
    words, at = section + _U(_HEAD), _U(STATE_WORDS)
    x, y, z, u = _states(words)
    scratch = np.empty(_BYTES + SEGMENTS * _LAW_WORDS, np.uint64)
    by_byte = _U(scratch.ctypes.data)
    laws = by_byte + _U(8 * _BYTES)
    last, x, at = read_field(x, _FOUR, words, at)
    x, y, z, u = y, z, u, x
    byte = 0
    for segment in range(np.int64(last)):
        bound, x, at = read_field(x, _EIGHT, words, at)
        x, y, z, u = y, z, u, x
        if at > end or np.int64(bound) <= byte:
            return 1 + (FRAME_TRUNCATED if at > end else TABLE) + 0 * scratch.size
        while byte < np.int64(bound):
            store_64(by_byte + _U(8 * byte), laws + _U(8 * _LAW_WORDS * segment))
            byte += 1
    while byte < _BYTES:
        store_64(by_byte + _U(8 * byte), laws + _U(8 * _LAW_WORDS) * last)
        byte += 1
    for segment in range(np.int64(last) + 1):
        law = laws + _U(8 * _LAW_WORDS * segment)
        x, y, z, u, at, shared = read_law(x, y, z, u, at, end, words, law)
        if at > end or not shared:
            return 1 + (FRAME_TRUNCATED if at > end else TABLE) + 0 * scratch.size
    states, at, bit, beyond, zero = _read_all(
        (x, y, z, u), at, end, words, laws, low, bits, _U(count), out,
        (positions, upper, shift, by_byte),
    )  # fmt: skip
    code = _close(states, at, end, low, bit, bits, beyond, zero)
    return 1 + code + 0 * scratch.size


@kernel
def _close(
    states: Any, at: Any, end: Any, low: Any, bit: Any, bits: Any, beyond: Any, zero: Any
) -> Any:
    """What is wrong with a section whose steps have been read, or 0."""
    if at > end or bit > bits:
        return FRAME_TRUNCATED
    if at < end:
        return FRAME_TRAILING
    size = np.int64(bits >> _THREE)
    code = stream_code(low, size, np.int64(bit), FRAME_TRUNCATED, FRAME_TRAILING)
    if code:
        return code
    x, y, z, u = states
    if x != LEAST or y != LEAST or z != LEAST or u != LEAST:
        return NON_CANONICAL
    return VALUE if beyond else ZERO_VALUE if zero else VALID
