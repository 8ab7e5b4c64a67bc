"""Frames whose ``blocks`` section is not valid."""

from __future__ import annotations

from tools.vectors.frames.blocks import (
    Turn,
    block_turns,
    blocks_section,
    encoded,
    field,
    run_slots,
    turns,
)
from tools.vectors.frames.parts import POSITIONS, FrameFault, masked

ROWS = [0, 1, 1]
COLUMNS = [0, 1] * 8


def blocks_faults() -> list[FrameFault]:
    good = blocks_section(POSITIONS, 16, 0, (), ())
    plain = turns(POSITIONS, 16, 0, (), ())
    classed = turns(POSITIONS, 16, 0, ROWS, COLUMNS)

    slots, _ = run_slots(3, 48)
    past = [*plain[:6], ("symbol", sum(slots[:40]), slots[40])]
    full = [*plain[:3], field(63, 6), *block_turns([True] * 48)[1:]]

    def fault(reason: str, section: bytes, why: str, **header: int) -> FrameFault:
        return reason, masked("blocks", 16, section, **header), f"blocks: {why}"

    def changed(made: list[Turn], place: int, turn: Turn) -> bytes:
        return encoded([*made[:place], turn, *made[place + 1 :]])

    return [
        fault("mask-section", b"", "nothing"),
        fault("mask-section", good[:15], "the states are cut off"),
        fault("mask-section", good[:-1], "half a word is missing"),
        fault("mask-section", good[:-2], "the last word is missing"),
        fault("mask-section", good + b"\0", "half a word more"),
        fault("mask-section", good + b"\0\0", "a word more"),
        fault("mask-section", b"\0" * 16, "states of 0 and no words"),
        fault("mask-section", bytes([1]) + good[1:16], "no words"),
        fault("mask-parameter", changed(plain, 0, field(16, 16)), "phase 16 in a row of 16"),
        fault("mask-parameter", changed(plain, 0, field(65535, 16)), "phase 65535"),
        fault("mask-section", encoded([field(16, 16)]), "phase 16 and no words behind it"),
        fault(
            "mask-section",
            encoded([field(0, 16), field(3, 4), field(0, 4), field(1000, 10), field(24, 10)]),
            "two of four classes have all slots and no words follow",
        ),
        fault("mask-parameter", changed(classed, 3, field(0, 10)), "a class of rows of no slots"),
        fault("mask-parameter", changed(classed, 7, field(0, 10)), "columns of no slots"),
        fault(
            "mask-parameter",
            encoded([field(0, 16), field(1, 4), field(2, 4), *classed[3:7],
                     field(1000, 10), field(24, 10), *classed[8:]]),
            "no slots are left for the last class",
        ),
        fault(
            "mask-parameter",
            encoded([field(0, 16), field(2, 4), field(1, 4), field(1000, 10), field(25, 10)]),
            "1025 slots",
        ),
        *(
            fault("non-canonical", encoded(plain, first), f"the states start at {list(first)}")
            for first in ((65537, *[65536] * 3), (*[65536] * 3, 131071), (90000,) * 4)
        ),
        fault("position", encoded(turns([7, 39], 16, 0, (), ())), "two of three"),
        fault("position", encoded(turns([7, 12, 13, 39], 16, 0, (), ())), "four of three"),
        fault("position", encoded(turns([7, 12, 38], 16, 0, (), ())), "they end at 38"),
        fault("position", encoded(turns([7, 12, 40], 16, 0, (), ())), "they end at 40"),
        fault("position", encoded(turns([-1, 12, 39], 16, 9, (), ())), "one before entry 0"),
        fault("position", encoded(past), "a run past the end of the block"),
        fault("position", encoded(full), "63 non-zeros in 48 cells"),
        fault("position", good, "m is 2", nonzeros=2),
    ]  # fmt: skip
