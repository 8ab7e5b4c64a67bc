"""A bank of format 1.1: an exact task in frames of version 2."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from tools.vectors._dice import Dice
from tools.vectors.banks.writer import Chunk, Edits, Json, Plan, TaskPlan, Tensor
from tools.vectors.frames.encoder import encode

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

    def frame(_: bytes, number: int) -> bytes:
        return encode("int32", LENGTH, chunks[number], ("bitmap", 0), ("magnitudes", 0))

    def needing(document: Json) -> Json:
        return document | {"features": ["frame-2"]}

    def root(document: Json) -> Json:
        return document | {"format": "1.1", "required_features": ["frame-2"]}

    edits = {"frame": frame, "revision": needing, "entry": needing, "root": root}
    return Edits(**(edits | stages))


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
