"""A slow writer of entropy-coded steps, from spec/values.md alone; no code of another encoder."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence

from bitarray import bitarray
from bitarray.util import int2ba

from tools.vectors.frames.blocks import Turn, encoded, field

#: What the buckets of magnitudes are: a scale and an origin.
Scale = tuple[int, int]
OCTAVES: Scale = (0, 0)


def magnitudes_section(patterns: Sequence[int], scale: Scale = OCTAVES) -> bytes:
    """The section of some steps, by the law that fits them."""
    symbols = [cut(signed(pattern), scale) for pattern in patterns]
    law = fitted_law(symbols)
    turns = [*law_turns(law, scale), *symbol_turns(symbols, law)]
    return section(turns, low_bits(symbols))


def base_magnitudes_section(
    patterns: Sequence[int],
    exponents: Sequence[int],
    bounds: Sequence[int] = (0,),
    scales: Sequence[Scale] = (),
) -> bytes:
    """The section of steps whose base's exponent bytes are given, by a law for each segment."""
    scales = scales or [OCTAVES] * len(bounds)
    segments = [sum(byte >= bound for bound in bounds) - 1 for byte in exponents]
    symbols = [
        cut(signed(pattern), scales[segment])
        for pattern, segment in zip(patterns, segments, strict=True)
    ]
    turns: list[Turn] = [field(len(bounds) - 1, 4), *(field(bound, 8) for bound in bounds[1:])]
    laws = []
    for number, scale in enumerate(scales):
        own = [
            symbol for symbol, segment in zip(symbols, segments, strict=True) if segment == number
        ]
        laws.append(fitted_law(own or [(0, 0, 0)]))
        turns += law_turns(laws[-1], scale)
    for symbol, segment in zip(symbols, segments, strict=True):
        turns += symbol_turns([symbol], laws[segment])
    return section(turns, low_bits(symbols))


def section(turns: Sequence[Turn], low: bytes) -> bytes:
    """The size of the coder's part, the part, the low bits."""
    coder = encoded(turns)
    return struct.pack("<I", len(coder)) + coder + low


def signed(pattern: int) -> int:
    return pattern - (pattern >> 31 << 32)


def cut(step: int, scale: Scale = OCTAVES) -> tuple[int, int, int]:
    """Symbol of a step, its low bits and how many."""
    magnitude, sign = abs(step), step < 0
    if scale[0]:
        width = scale[0] - 1
        return 2 * ((magnitude >> width) - scale[1]) + sign, magnitude % (1 << width), width
    if magnitude == 1:
        return int(sign), 0, 0
    octave = magnitude.bit_length() - 1
    low = octave - 1
    upper_half = magnitude >= 3 << low
    return 2 * (2 * octave - 1 + upper_half) + sign, magnitude % (1 << low), low


def fitted_law(symbols: Sequence[tuple[int, int, int]]) -> list[int]:
    """Slots of every symbol: near its share, 1 at least where it occurs, 1024 together."""
    counts = Counter(symbol for symbol, _, _ in symbols)
    total = sum(counts.values())
    law = [
        max(1, counts[symbol] * 1024 // total) if counts[symbol] else 0
        for symbol in range(max(counts) + 1)
    ]
    law[law.index(max(law))] += 1024 - sum(law)
    return law


def law_turns(law: Sequence[int], scale: Scale = OCTAVES) -> list[Turn]:
    """Scale, number of symbols; the bits of each frequency, and those below the highest one."""
    made = [field(scale[0], 5)]
    if scale[0]:
        made += [field(scale[1] % 65536, 16), field(scale[1] >> 16, 16)]
    made.append(field(len(law), 7))
    for slots in law:
        length = slots.bit_length()
        made.append(field(length, 4))
        if length > 1:
            made.append(field(slots - (1 << length - 1), length - 1))
    return made


def symbol_turns(symbols: Sequence[tuple[int, int, int]], law: Sequence[int]) -> list[Turn]:
    """One turn a step."""
    return [("symbol", sum(law[:symbol]), law[symbol]) for symbol, _, _ in symbols]


def low_bits(symbols: Sequence[tuple[int, int, int]]) -> bytes:
    """The bits that the buckets leave open."""
    bits = bitarray(endian="little")
    for _, low, width in symbols:
        if width:
            bits.extend(int2ba(low, width, endian="little"))
    return bits.tobytes()
