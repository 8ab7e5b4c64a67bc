"""Chunks of steps for ``magnitudes``: every bucket, laws of one symbol and of many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from tools.vectors._dice import Dice
from tools.vectors.frames.steps import OCTAVES, Scale


class StepsCase(NamedTuple):
    name: str
    entries: int
    steps: dict[int, int]
    why: str
    scale: Scale = OCTAVES


def steps_cases() -> Iterator[StepsCase]:
    dice = Dice(9)
    yield StepsCase("example", 8, {0: 3, 3: -1, 4: 6}, "the example of values.md")
    yield StepsCase("one-symbol", 70, dict.fromkeys(range(70), -1), "a law of one symbol: no words")
    yield StepsCase(
        "low-bits-only", 9, {i: 1000 + i for i in range(9)}, "one bucket: nothing but low bits"
    )
    edges = [s * (1 << e) + d for e in range(31) for s in (1, -1) for d in (-1, 0, 1)]
    steps = [step for step in edges if step and -(2**31) <= step < 2**31]
    yield StepsCase(
        "buckets", 300, dict(enumerate([*steps, 2**31 - 1, -(2**31)])), "both ends of every bucket"
    )
    for count in (1, 2, 3, 4, 5):
        some = {5 * i: dice.choice((-2, -1, 1, 2)) for i in range(count)}
        yield StepsCase(f"m{count}", 32, some, "states take turns")
    many = {i: round(3 * dice.bell()) or 1 for i in range(3000) if dice.random() < 0.4}
    yield StepsCase("many", 3000, many, "small steps, as most updates have them")
    wide = {i: round(2.0 ** (14 + 3 * dice.bell())) or 1 for i in range(0, 900, 3)}
    yield StepsCase("wide", 900, wide, "steps of float32 weights: most bits are low ones")
    exact = {3 * i: round(9 * dice.bell()) or 1 for i in range(200)}
    yield StepsCase("exact", 600, exact, "a bucket for each magnitude", (1, 0))
    from_zero = {
        2 * i: dice.choice((-1, 1)) * (14000 + int(900 * dice.random())) for i in range(300)
    }
    why = "bfloat16 weights that were zero: an octave of the new ones in a bucket"
    yield StepsCase("from-zero", 600, from_zero, why, (8, 109))
    far = {0: 2**31 - 1, 1: -(2**31), 2: -(2**31) + 1}
    yield StepsCase("origin", 3, far, "an origin of 31 bits", (1, 2**31 - 1))
    yield StepsCase("widest", 3, far, "buckets of 2^30 magnitudes", (31, 1))
