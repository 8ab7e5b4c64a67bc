"""Chunks whose frames are given the base: weights of each type, and what moves beside them."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tools.vectors._dice import Dice
from tools.vectors.frames.blocks import BaseClasses, base_blocks_section
from tools.vectors.frames.encoder import frame, mask_section, value_section
from tools.vectors.frames.steps import OCTAVES, Scale, base_magnitudes_section


class GivenCase(NamedTuple):
    """``base`` is the raw bytes of the chunk's weights, perhaps fewer than it has entries."""

    name: str
    data: bytes
    entries: int
    chunk: dict[int, int]
    dtype: str
    base: bytes
    why: str


def exponents_of(dtype: str, base: bytes) -> list[int]:
    """Bits 7 to 14 of the upper 16 bits of each weight."""
    if dtype == "float32":
        return [bits >> 23 & 255 for (bits,) in struct.iter_unpack("<I", base)]
    return [bits >> 7 & 255 for (bits,) in struct.iter_unpack("<H", base)]


def numbers(dtype: str, values: Sequence[float]) -> bytes:
    """Weights of a type; bfloat16 cuts what it cannot hold."""
    if dtype == "bfloat16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{'e' if dtype == 'float16' else 'f'}", *values)


def given_cases() -> Iterator[GivenCase]:
    dice = Dice(13)
    for dtype in ("float32", "float16", "bfloat16"):
        weights = [dice.bell() * 2.0 ** -dice.choice((3, 6, 9)) for _ in range(400)]
        weights[::11] = [0.0] * len(weights[::11])
        base = numbers(dtype, weights)
        exponents = exponents_of(dtype, base)
        moved = {
            i: (round(dice.bell() * 2.0 ** dice.choice((0, 2, 5))) or 1) % 2**32
            for i, weight in enumerate(weights)
            if dice.random() < (0.9 if abs(weight) < 0.01 else 0.2)
        }
        cut = sorted({*exponents})[len({*exponents}) // 2]
        rows = [dice.choice((0, 0, 1, 2)) for _ in range(12)]
        rows[:3] = [2, 1, 0]
        rows = rows[: -(-(7 + max(moved) + 1) // 40)]
        yield _case(f"{dtype}-both", 400, moved, dtype, base, "mask and steps given the base",
                    (40, (7, rows, (0, cut))), ((0, cut), ()))  # fmt: skip
        yield _case(f"{dtype}-mask", 400, moved, dtype, base, "the mask alone is given it",
                    (16, (0, (), (0, 1, cut))), None)  # fmt: skip
        scales = ((8, 0), OCTAVES)
        yield _case(f"{dtype}-values", 400, moved, dtype, base, "the steps alone are given it",
                    None, ((0, cut), scales))  # fmt: skip
    odd = struct.pack("<8H", 0, 0x8000, 0x7F80, 0xFF80, 0x7FC1, 0xFFFF, 1, 0x3F80)
    chunk = {i: i + 1 for i in range(8)}
    yield _case("odd-floats", 16, chunk, "bfloat16", odd, "zeros, infinities, NaNs",
                (16, (3, (), (0, 1, 127, 128, 255))), ((0, 1, 255), ()))  # fmt: skip
    yield _case("one-segment", 16, chunk, "bfloat16", odd, "segments without entries",
                (65535, (65534, (0, 1), (0, 200))), ((0, 2, 3, 4, 5, 6), ()))  # fmt: skip
    full = dict.fromkeys(range(8), 2**32 - 1)
    section = base_magnitudes_section(list(full.values()), exponents_of("bfloat16", odd))
    data = frame("int32", 8, range(8), ("full", 0), b"", ("base-magnitudes", 0), section)
    yield GivenCase("full", data, 8, full, "bfloat16", odd, "no mask, and yet positions count")


def _case(
    name: str, entries: int, chunk: dict[int, int], dtype: str, base: bytes, why: str,
    mask: tuple[int, BaseClasses] | None,
    value: tuple[Sequence[int], Sequence[Scale]] | None,
) -> GivenCase:  # fmt: skip
    positions = sorted(chunk)
    patterns = [chunk[position] for position in positions]
    exponents = exponents_of(dtype, base)
    mask_name, mask_bytes = ("bitmap", 0), mask_section("bitmap", 0, positions)
    if mask:
        mask_name = ("base-blocks", mask[0])
        mask_bytes = base_blocks_section(positions, mask[0], exponents, mask[1])
    value_name, value_bytes = ("rice", 2), value_section("rice", 2, "int32", patterns)
    if value:
        beside = [exponents[position] for position in positions]
        value_name = ("base-magnitudes", 0)
        value_bytes = base_magnitudes_section(patterns, beside, *value)
    data = frame("int32", entries, positions, mask_name, mask_bytes, value_name, value_bytes)
    return GivenCase(name, data, entries, chunk, dtype, base, why)
