"""Frames given the base whose sections are not valid."""

from __future__ import annotations

import struct

from tools.vectors.frames.blocks import Turn, base_blocks_turns, block_turns, encoded, field
from tools.vectors.frames.encoder import frame
from tools.vectors.frames.given_cases import exponents_of, numbers
from tools.vectors.frames.parts import FrameFault
from tools.vectors.frames.steps import base_magnitudes_section, law_turns, section

#: Sixteen weights of bfloat16 with three exponents, of which three move.
BASE = numbers("bfloat16", [(0.5, 1.0, 2.0)[i % 3] for i in range(16)])
POSITIONS, PATTERNS = [1, 4, 9], [3, 2**32 - 1, 6]


def given_faults() -> list[FrameFault]:
    exponents = exponents_of("bfloat16", BASE)
    beside = [exponents[position] for position in POSITIONS]
    bounds = (0, 127, 128)
    turns = base_blocks_turns(POSITIONS, 16, exponents, (0, (), bounds))
    mask, values = encoded(turns), base_magnitudes_section(PATTERNS, beside, (0, 127))

    def made(places: bytes = mask, steps: bytes = values, **header: int) -> bytes:
        return frame(
            "int32", 16, POSITIONS, ("base-blocks", 16), places, ("base-magnitudes", 0), steps,
            **header,
        )  # fmt: skip

    def changed(place: int, turn: Turn) -> bytes:
        return made(encoded([*turns[:place], turn, *turns[place + 1 :]]))

    def read(*first: Turn) -> bytes:
        return made(steps=section(first, b""))

    # Of 0.5 there are 0, 3, 6 and 9, of which the last moves.
    first = block_turns([False, False, False, True])
    seven = [*turns[:5], field(7, 3), *block_turns([True] * 4)[1:], *turns[5 + len(first) :]]
    twice = [field(0, 16), field(0, 4), field(2, 4), field(127, 8), field(127, 8)]
    return [
        ("mask-encoding", made(version=1), "base-blocks in a frame of version 1"),
        ("mask-encoding", made(element=0), "base-blocks are for int32 only"),
        ("mask-encoding", made(mask=10), "mask encoding 10"),
        ("value-encoding", made(value=10), "value encoding 10"),
        (
            "value-encoding",
            frame(
                "int32", 16, POSITIONS, ("bitmap", 0), b"\x12\x02", ("base-magnitudes", 0), values,
                element=0,
            ),
            "base-magnitudes are for int32 only",
        ),
        ("mask-parameter", made(mask_parameter=15), "base-blocks: rows of 15"),
        ("value-parameter", made(value_parameter=1), "base-magnitudes: 1"),
        ("mask-section", made(mask[:-2]), "base-blocks: a word is missing"),
        ("mask-section", made(mask + b"\0\0"), "base-blocks: a word more"),
        ("mask-section", made(b"\0" * 14), "base-blocks: no states"),
        ("mask-parameter", changed(0, field(16, 16)), "base-blocks: phase 16 in a row of 16"),
        ("mask-parameter", made(encoded(twice)), "base-blocks: a segment without bytes"),
        ("mask-parameter", changed(3, field(0, 8)), "base-blocks: a second segment from 0"),
        ("non-canonical", made(encoded(turns, (65537, *[65536] * 3))), "base-blocks: the states"),
        ("position", made(encoded(seven)), "base-blocks: seven of four in a string"),
        (
            "position",
            made(encoded(base_blocks_turns([1, 4, 5, 9], 16, exponents, (0, (), bounds)))),
            "base-blocks: four of three, of other strings",
        ),
        ("position", made(nonzeros=2), "base-blocks: m is 2"),
        ("frame-truncated", made(steps=values[:-1]), "base-magnitudes: a low bit is missing"),
        ("frame-truncated", made(steps=values[:6]), "base-magnitudes: the coder is cut off"),
        ("frame-trailing", made(steps=values + b"\0"), "base-magnitudes: a byte more"),
        ("table", read(field(1, 4), field(0, 8)), "base-magnitudes: a second segment from 0"),
        ("table", read(field(0, 4), field(0, 5), field(0, 7)), "base-magnitudes: an empty law"),
        (
            "table",
            read(field(1, 4), field(9, 8), *law_turns([1024]), field(0, 5), field(0, 7)),
            "base-magnitudes: an empty law of a segment that nothing lies in",
        ),
        ("padding", made(steps=values[:-1] + bytes([values[-1] | 128])), "base-magnitudes"),
        ("table", made(steps=struct.pack("<I", 15) + values[4:]), "base-magnitudes: odd"),
    ]  # fmt: skip
