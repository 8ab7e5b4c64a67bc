"""Banks of format 1.1: an exact task in frames of version 2, given the base or not."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from tools.vectors._dice import Dice
from tools.vectors.banks.writer import Chunk, Edits, Json, Plan, TaskPlan, Tensor
from tools.vectors.frames.blocks import base_blocks_section
from tools.vectors.frames.encoder import encode, frame
from tools.vectors.frames.given_cases import exponents_of
from tools.vectors.frames.steps import base_magnitudes_section

LENGTH = 64


def exact_plan() -> Plan:
    """Two units in three chunks, and an exact task of which every weight of one moves."""
    dice = Dice(12)
    brain = Tensor("brain", "bfloat16", (100,), _numbers(dice, 100, 2))
    single = Tensor("single", "float32", (40,), _numbers(dice, 40, 4))
    entries = {
        "brain": {i: (round(3 * dice.bell()) or 1) % 2**32 for i in range(100)},
        "single": {i: (round(9000 * dice.bell()) or 1) % 2**32 for i in range(0, 40, 3)},
    }
    return Plan((brain, single), {"t": TaskPlan("int32", entries, compressor={"name": "exact"})})


def entropy_coded(plan: Plan, **stages: Callable[..., object]) -> Edits:
    """How to write a plan's frames with ``magnitudes``, and what the documents then say."""
    chunks = _chunks(plan)

    def coded(_: bytes, number: int) -> bytes:
        return encode("int32", LENGTH, chunks[number], ("bitmap", 0), ("magnitudes", 0))

    def needing(document: Json) -> Json:
        return document | {"features": ["frame-2"]}

    def root(document: Json) -> Json:
        return document | {"format": "1.1", "required_features": ["frame-2"]}

    edits = {"frame": coded, "revision": needing, "entry": needing, "root": root}
    return Edits(**(edits | stages))


def given_base(plan: Plan, **stages: Callable[..., object]) -> Edits:
    """The same with frames that are given the base."""
    chunks, bases = _chunks(plan), _exponents(plan)

    def coded(_: bytes, number: int) -> bytes:
        positions, exponents = sorted(chunks[number]), bases[number]
        patterns = [chunks[number][position] for position in positions]
        beside = [exponents[position] for position in positions]
        bound = sorted({*exponents})[1]
        return frame(
            "int32", LENGTH, positions,
            ("base-blocks", 16), base_blocks_section(positions, 16, exponents, (0, (), (0, bound))),
            ("base-magnitudes", 0), base_magnitudes_section(patterns, beside, (0, bound)),
        )  # fmt: skip

    def needing(document: Json) -> Json:
        return document | {"features": ["frame-2", "given-base"]}

    def root(document: Json) -> Json:
        return document | {"format": "1.1", "required_features": ["frame-2", "given-base"]}

    edits = {"frame": coded, "revision": needing, "entry": needing, "root": root}
    return Edits(**(edits | stages))


def _exponents(plan: Plan) -> Mapping[int, list[int]]:
    """The exponent bytes of each chunk's weights, by its number."""
    found: dict[int, list[int]] = {}
    first = 0
    for unit in plan.units:
        exponents = exponents_of(unit.dtype, unit.data)
        for number in range(-(-unit.size // LENGTH)):
            found[first + number] = exponents[number * LENGTH :][:LENGTH]
        first += -(-unit.size // LENGTH)
    return found


def _chunks(plan: Plan) -> Mapping[int, Chunk]:
    chunks: dict[int, Chunk] = {}
    first = 0
    for unit in plan.units:
        for position, pattern in plan.tasks["t"].entries[unit.name].items():
            number, place = divmod(position, LENGTH)
            chunks.setdefault(first + number, {})[place] = pattern
        first += -(-unit.size // LENGTH)
    return chunks


def _numbers(dice: Dice, count: int, width: int) -> bytes:
    """Small floats; of the bytes of each the upper ones, as many as the type has."""
    singles = (struct.pack("<f", round(dice.bell() * 256) / 1024) for _ in range(count))
    return b"".join(single[4 - width :] for single in singles)
