"""One small bank, and ways to tamper with it."""

from __future__ import annotations

import copy
import struct
from collections.abc import Callable
from typing import Any

from tools.vectors.banks.writer import Edits, Files, Plan, TaskPlan, Tensor, write_bank
from tools.vectors.frames.encoder import float32

#: reason, why, files
BankFault = tuple[str, str, Files]
ABSENT = (2**64 - 1, 2**64 - 1)

#: Three chunks in two shards; the last chunk of the second shard lies behind the layout.
UNITS = (
    Tensor("w", "float32", (100,), bytes(400)),
    Tensor("b", "bfloat16", (3,), bytes(6)),
)
ENTRIES = {"w": {0: float32(0.5), 63: float32(-0.5), 99: float32(0.5)}, "b": {2: float32(0.25)}}
PLAN = Plan(UNITS, {"t": TaskPlan("float32", ENTRIES)})
EXTRA = Tensor("head", "float32", (2, 3), struct.pack("<6f", 1, 2, 3, 4, 5, 6))
WITH_EXTRA = Plan(UNITS, {"t": TaskPlan("float32", ENTRIES, (EXTRA,))})


def tampered(plan: Plan = PLAN, **stages: Callable[..., Any]) -> Files:
    return write_bank(plan, Edits(**stages))


def opened(**stages: Callable[..., Any]) -> Files:
    """Only what a reader needs to find the fault at opening."""
    files = tampered(**stages)
    return {key: data for key, data in files.items() if not key.startswith("tasks/")}


def put(*path: str | int, value: Any) -> Callable[[Any], Any]:
    """An edit that sets one member of a document."""

    def edit(document: Any) -> Any:
        document = copy.deepcopy(document)
        place = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        return document

    return edit


def drop(*path: str | int) -> Callable[[Any], Any]:
    """An edit that removes one member of a document."""

    def edit(document: Any) -> Any:
        document = copy.deepcopy(document)
        place = document
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]
        return document

    return edit


def swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """An edit that replaces bytes that are there."""

    def edit(data: bytes) -> bytes:
        assert old in data, old
        return data.replace(old, new, 1)

    return edit


def without(suffix: str) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        kept = {key: data for key, data in files.items() if not key.endswith(suffix)}
        assert len(kept) == len(files) - 1
        return kept

    return edit


def change(suffix: str, how: Callable[[bytes], bytes]) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        keys = [key for key in files if key.endswith(suffix)]
        assert len(keys) == 1, keys
        return files | {keys[0]: how(files[keys[0]])}

    return edit


def flip(at: int) -> Callable[[bytes], bytes]:
    """An edit that changes the lowest bit of one byte."""

    def edit(data: bytes) -> bytes:
        damaged = bytearray(data)
        damaged[at] ^= 1
        return bytes(damaged)

    return edit
