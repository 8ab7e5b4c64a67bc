"""The valid frame vectors: every encoding, many shapes of chunk, the values that break floats."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tools.vectors._dice import Dice
from tools.vectors.frames.blocks_cases import blocks_cases
from tools.vectors.frames.encoder import (
    VALUES,
    encode,
    float32,
    frame,
    mask_parameters,
    mask_section,
    runs,
    sass,
)
from tools.vectors.frames.given_cases import given_cases
from tools.vectors.frames.steps import magnitudes_section
from tools.vectors.frames.steps_cases import steps_cases

Chunk = dict[int, int]  # position -> pattern

SPECIAL_FLOATS = {
    "minus-zero": 0x80000000,
    "smallest-subnormal": 0x00000001,
    "negative-subnormal": 0x80000123,
    "smallest-normal": 0x00800000,
    "largest": 0x7F7FFFFF,
    "infinity": 0x7F800000,
    "minus-infinity": 0xFF800000,
    "quiet-nan": 0x7FC00000,
    "quiet-nan-payload": 0x7FC12345,
    "signalling-nan": 0x7F800001,
    "negative-nan-payload": 0xFFABCDEF,
}


@dataclass(frozen=True)
class ValidFrame:
    name: str
    data: bytes
    element: str
    entries: int
    chunk: Chunk
    why: str
    dtype: str | None = None
    base: bytes = b""


def int32(number: int) -> int:
    return number % 2**32


def signs(positions: list[int], dice: Dice) -> Chunk:
    return {position: float32(dice.choice((-0.25, 0.25))) for position in positions}


def scattered(entries: int, density: float, dice: Dice) -> list[int]:
    return [i for i in range(entries) if dice.random() < density] or [entries // 2]


def valid_frames() -> Iterator[ValidFrame]:
    chunk = {7: float32(0.5), 12: float32(-0.5), 39: float32(-0.5)}
    data = sass("float32", 64, chunk)
    yield ValidFrame("worked-example", data, "float32", 64, chunk, "the example of frame.md")
    yield from _empty_and_full()
    yield from _mask_sizes()
    yield from _mask_parameters()
    yield from _mask_edges()
    yield from _blocks()
    yield from _values()
    yield from _affine()
    yield from _rice_values()
    yield from _chosen()
    yield from _steps()
    for case in given_cases():
        data, entries, base = case.data, case.entries, case.base
        name = f"given-{case.name}"
        yield ValidFrame(name, data, "int32", entries, case.chunk, case.why, case.dtype, base)


def _empty_and_full() -> Iterator[ValidFrame]:
    for element in ("float32", "int32"):
        for entries in (1, 64, 2**24):
            data = encode(element, entries, {}, ("empty", 0), ("none", 0))
            why = "no non-zeros; the largest n takes no more bytes than the smallest"
            yield ValidFrame(f"empty-{element}-n{entries}", data, element, entries, {}, why)
    dice = Dice(1)
    for entries, extent in ((1, 1), (8, 8), (64, 1), (64, 63), (65, 65)):
        chunk = signs(list(range(extent)), dice)
        data = encode("float32", entries, chunk, ("full", 0), ("sign", 0))
        why = "every entry below the extent is a non-zero"
        yield ValidFrame(f"full-n{entries}-e{extent}", data, "float32", entries, chunk, why)
    chunk = dict.fromkeys(range(2**18), int32(-1))
    data = encode("int32", 2**18, chunk, ("full", 0), ("table", 1))
    why = "28 bytes for 2^18 equal values: a reader bounds n, not the length of the frame"
    yield ValidFrame("full-n262144-one-value", data, "int32", 2**18, chunk, why)


def _mask_sizes() -> Iterator[ValidFrame]:
    """Each encoding on small, odd and aligned extents; one fitting parameter each."""
    dice = Dice(2)
    for entries in (1, 2, 7, 8, 9, 16, 17, 64, 65, 300):
        for name in ("bitmap", "index", "holes", "runs", "gaps", "grouped"):
            density = 0.9 if name == "holes" else 0.5 if name in ("bitmap", "runs") else 0.15
            chunk = signs(scattered(entries, density, dice), dice)
            choices = mask_parameters(name, sorted(chunk))
            small = [k for k in choices if k % 256 <= 3 and k // 256 <= 3] or choices
            mask = (name, dice.choice(small))
            data = encode("float32", entries, chunk, mask, ("sign", 0))
            yield ValidFrame(
                f"{name}-n{entries}", data, "float32", entries, chunk,
                f"{len(chunk)} non-zeros, extent {max(chunk) + 1}, parameter {mask[1]}",
            )  # fmt: skip


def _mask_parameters() -> Iterator[ValidFrame]:
    """The same chunk with parameters from the smallest to the largest."""
    dice = Dice(3)
    chunk = signs(scattered(200, 0.2, dice), dice)
    parameters = {
        "holes": (0, 1, 2, 7, 24),
        "gaps": (0, 1, 2, 7, 24),
        "runs": (0, 1, 256, 2 + 256 * 3, 24, 256 * 24, 24 + 256 * 24),
        "grouped": (1, 2, 3, 5, 8, 16),
    }
    for name, values in parameters.items():
        for parameter in values:
            data = encode("float32", 200, chunk, (name, parameter), ("sign", 0))
            yield ValidFrame(
                f"{name}-parameter{parameter}", data, "float32", 200, chunk,
                "any parameter in range is valid, however wasteful; extent below the chunk's end",
            )  # fmt: skip


def _mask_edges() -> Iterator[ValidFrame]:
    dice = Dice(4)
    rows = [*range(13), *range(40, 45), *range(90, 128)]
    cases: list[tuple[str, int, list[int], tuple[str, int], str]] = [
        ("one-at-0", 64, [0], ("bitmap", 0), "the shortest bitmap"),
        ("one-at-0", 64, [0], ("index", 0), "w = 0: a section of no bytes"),
        ("one-at-0", 64, [0], ("holes", 0), "no zero below the extent: no bytes"),
        ("one-at-0", 64, [0], ("runs", 0), "a first run of no zeros"),
        ("one-at-0", 64, [0], ("gaps", 0), "one symbol of one bit"),
        ("one-at-0", 64, [0], ("grouped", 1), "one group, its entry the last"),
        ("one-at-63", 64, [63], ("bitmap", 0), "extent at the end of the chunk"),
        ("one-at-63", 64, [63], ("index", 6), "w = 6 for extent 64"),
        ("one-at-64", 65, [64], ("index", 7), "w = 7 for extent 65: the length of e - 1, not e"),
        ("one-at-63", 64, [63], ("runs", 0), "a run of 63 zeros, escaped with k = 0"),
        ("one-at-63", 64, [63], ("grouped", 16), "a group larger than the chunk"),
        ("gap-23", 64, [23], ("gaps", 0), "q = 23: the longest symbol that is no escape"),
        ("gap-24", 64, [24], ("gaps", 0), "q = 24: the first escape"),
        ("gap-47", 64, [47], ("gaps", 1), "q = 23 with k = 1"),
        ("gap-48", 64, [48], ("gaps", 1), "q = 24 with k = 1: escape"),
        ("holes-24-apart", 64, [*range(24), *range(25, 64)], ("holes", 0), "an escaped hole"),
        ("hole-at-0", 9, list(range(1, 9)), ("holes", 0), "the first entry is the only zero"),
        ("hole-before-last", 9, [*range(7), 8], ("holes", 2), "the last zero just below e - 1"),
        ("aligned", 64, [0, 1, 2, 3, 4, 5, 6, 7], ("gaps", 0), "8 bits exactly: no padding"),
        ("aligned", 64, list(range(8, 24)), ("bitmap", 0), "24 bits exactly: no padding"),
        ("aligned", 256, [1, 9, 100, 255], ("index", 8), "32 bits exactly: no padding"),
        ("aligned", 32, [0, 8, 16, 31], ("grouped", 3), "4 + 16 bits: half a byte of padding"),
        ("rows", 200, rows, ("runs", 4 + 256 * 3), "clustered, as rows of an embedding"),
        ("first-run-zeros", 40, list(range(30, 40)), ("runs", 5 + 256 * 3), "begins with zeros"),
        ("long-run", 128, list(range(128)), ("runs", 0), "128 ones: escaped with k = 0"),
        ("all-groups", 40, [3, 4, 9, 17, 30, 39], ("grouped", 3), "every group is flagged"),
        ("group-bounds", 48, [0, 7, 8, 15, 47], ("grouped", 3), "first and last of a group"),
        ("empty-groups", 100, [2, 3, 99], ("grouped", 2), "groups without entries between"),
        ("far", 2**24, [0, 2**24 - 1], ("index", 24), "the last position that exists"),
        ("far", 2**24, [0, 2**24 - 1], ("gaps", 0), "a gap of 2^24 - 2, escaped"),
        ("far", 2**24, [0, 2**24 - 1], ("gaps", 20), "a gap of 2^24 - 2 with q = 15"),
        ("far", 2**24, [0, 2**24 - 1], ("runs", 24), "a run of 2^24 - 2 zeros"),
        ("far", 2**24, [0, 2**24 - 1], ("grouped", 16), "256 groups of 65536"),
    ]
    for title, entries, positions, mask, why in cases:
        chunk = signs(positions, dice)
        data = encode("float32", entries, chunk, mask, ("sign", 0))
        name = f"{mask[0]}-{title}-k{mask[1]}"
        yield ValidFrame(name, data, "float32", entries, chunk, why)
    assert max(zeros for zeros, _ in runs(rows)) == 45


def _blocks() -> Iterator[ValidFrame]:
    """Matrices; the classes of rows and columns are told to the slow encoder."""
    dice = Dice(8)
    for case in blocks_cases():
        chunk = signs(case.positions, dice)
        data = encode(
            "float32", case.entries, chunk, ("blocks", case.width), ("sign", 0),
            classes=(case.phase, case.rows, case.columns),
        )  # fmt: skip
        name = f"blocks-{case.name}"
        yield ValidFrame(name, data, "float32", case.entries, chunk, case.why)


def _values() -> Iterator[ValidFrame]:
    dice = Dice(5)
    for name, pattern in SPECIAL_FLOATS.items():
        chunk = {1: pattern, 4: pattern ^ 0x80000000} if pattern != 0x80000000 else {1: pattern}
        data = encode("float32", 8, chunk, ("bitmap", 0), ("raw", 0))
        yield ValidFrame(f"raw-{name}", data, "float32", 8, chunk, "restored bit for bit")
        if pattern != 0x80000000:
            data = encode("float32", 8, chunk, ("bitmap", 0), ("sign", 0))
            yield ValidFrame(f"sign-{name}", data, "float32", 8, chunk, "any magnitude but 0")
    integers = {"one": 1, "largest": 2**31 - 1, "some": 12345}
    for name, value in integers.items():
        chunk = {0: int32(value), 3: int32(-value), 4: int32(-value)}
        data = encode("int32", 8, chunk, ("bitmap", 0), ("sign", 0))
        yield ValidFrame(f"sign-int32-{name}", data, "int32", 8, chunk, "two's complement")
    chunk = {0: int32(-(2**31)), 3: int32(2**31 - 1), 7: int32(-1)}
    data = encode("int32", 8, chunk, ("bitmap", 0), ("raw", 0))
    yield ValidFrame("raw-int32-extremes", data, "int32", 8, chunk, "-2^31 is a value like others")
    for count in (8, 9, 16, 17):
        chunk = signs(list(range(count)), dice)
        data = encode("float32", 17, chunk, ("full", 0), ("sign", 0))
        yield ValidFrame(f"sign-m{count}", data, "float32", 17, chunk, "padding of the signs")
    for size in (1, 2, 3, 4, 5, 16, 17, 128, 129, 256):
        for element in ("float32", "int32"):
            table = dice.distinct(size)
            count = max(size, 9)
            patterns = [*table, *(dice.choice(table) for _ in range(count - size))]
            chunk = dict(enumerate(patterns))
            data = encode(element, 300, chunk, ("full", 0), ("table", size))
            why = f"codes of {(size - 1).bit_length()} bits"
            yield ValidFrame(f"table-{element}-t{size}", data, element, 300, chunk, why)
    chunk = dict(enumerate(SPECIAL_FLOATS.values()))
    data = encode("float32", 11, chunk, ("full", 0), ("table", len(chunk)))
    why = "a table of NaNs, infinities and -0.0, in the order of their patterns"
    yield ValidFrame("table-special", data, "float32", 11, chunk, why)
    chunk = {0: 5, 3: 9}
    section = struct.pack("<3I", 5, 7, 9) + bytes([0b1000])  # codes 0 and 2
    data = frame("float32", 4, [0, 3], ("bitmap", 0), bytes([0b1001]), ("table", 3), section)
    why = "a table may hold a pattern that no code uses"
    yield ValidFrame("table-unused", data, "float32", 4, chunk, why)
    halves = (0.5, -0.5, 65504.0, -65504.0, 2.0**-24, -(2.0**-14), float("inf"), float("-inf"))
    chunk = {3 * i: float32(half) for i, half in enumerate(halves)} | {40: 0x80000000}
    data = encode("float32", 64, chunk, ("gaps", 1), ("float16", 0))
    why = "largest, smallest, subnormal, infinite and negative zero halves"
    yield ValidFrame("float16-special", data, "float32", 64, chunk, why)
    chunk = {2 * i: pattern & 0xFFFF0000 for i, pattern in enumerate(SPECIAL_FLOATS.values())}
    chunk = {i: pattern for i, pattern in chunk.items() if pattern}
    data = encode("float32", 64, chunk, ("gaps", 1), ("bfloat16", 0))
    why = "upper halves, NaNs and -0.0 included"
    yield ValidFrame("bfloat16-special", data, "float32", 64, chunk, why)


def _affine() -> Iterator[ValidFrame]:
    dice = Dice(6)
    cases: dict[str, tuple[int, float, float, str]] = {
        **{
            f"b{width}": (width, -0.75, 2.0**-5, f"codes of {width} bits")
            for width in range(1, 9)
        },
        "negative-step": (3, 1.0, -0.25, "levels descend; the level at code 4 is zero and unused"),
        "step-0": (1, 3.5, 0.0, "both codes mean the same; a writer uses the first"),
        "minus-zero": (1, -0.0, -1.0, "-0.0 + 0 * -1.0 is -0.0, a non-zero"),
        "tenth": (4, 0.1, 0.1, "products are exact in binary64; the sum is rounded to binary32"),
        "wide": (8, 1e-30, 1e30, "the sum is rounded in binary64 already"),
        "overflow": (2, 3e38, 2e38, "levels beyond the largest float32 are infinite"),
        "subnormal": (3, 0.0, 1e-45, "subnormal levels; code 0 is zero and unused"),
    }  # fmt: skip
    for name, (width, offset, step, why) in cases.items():
        start, grain = (struct.unpack("<f", struct.pack("<f", x))[0] for x in (offset, step))
        levels = [float32(start + code * grain) for code in range(2**width)]
        patterns = [level for level in levels[:40] if level] + [levels[-1]] * 3
        patterns = [dice.choice(patterns) for _ in patterns]
        chunk = dict(enumerate(patterns))
        data = encode("float32", 64, chunk, ("full", 0), ("affine", width), (offset, step))
        yield ValidFrame(f"affine-{name}", data, "float32", 64, chunk, why)


def _rice_values() -> Iterator[ValidFrame]:
    cases: dict[str, tuple[int, list[int], str]] = {
        "ones-k0": (0, [1, -1, 1, -1], "two bits a value, one byte exactly"),
        "small-k1": (1, [3, -1, 6, 2, -4], "the example of values.md and two more"),
        "k7": (7, [1, -128, 129, 3071, -3072], "q up to 23"),
        "escape-k0": (0, [24, 25, -24, -25], "|v| - 1 = 23 is no escape, 24 is one"),
        "escape-k7": (7, [3072, 3073, -3073], "q = 24 escapes"),
        "extremes-k0": (0, [2**31 - 1, -(2**31)], "escapes of the extremes"),
        "extremes-k26": (26, [2**31 - 1, -(2**31)], "q = 31 escapes"),
        "extremes-k27": (27, [2**31 - 1, -(2**31)], "q = 15 does not"),
        "extremes-k31": (31, [2**31 - 1, -(2**31), 1, -1], "q = 0 always"),
    }
    for name, (k, values, why) in cases.items():
        chunk = {3 * i: int32(value) for i, value in enumerate(values)}
        data = encode("int32", 16, chunk, ("bitmap", 0), ("rice", k))
        yield ValidFrame(f"rice-{name}", data, "int32", 16, chunk, why)


def _steps() -> Iterator[ValidFrame]:
    """Entropy-coded steps, in frames of version 2."""
    for case in steps_cases():
        chunk = {position: int32(step) for position, step in case.steps.items()}
        section = magnitudes_section([chunk[i] for i in sorted(chunk)], case.scale)
        mask = mask_section("bitmap", 0, sorted(chunk))
        data = frame(
            "int32", case.entries, sorted(chunk), ("bitmap", 0), mask, ("magnitudes", 0), section
        )
        name = f"magnitudes-{case.name}"
        yield ValidFrame(name, data, "int32", case.entries, chunk, case.why)


def _chosen() -> Iterator[ValidFrame]:
    """The smallest frame of a chunk; a fast encoder must make the same bytes."""
    makers: list[tuple[str, str, Callable[[Dice], int]]] = [
        ("signs", "float32", lambda g: float32(g.choice((-0.25, 0.25)))),
        ("halves", "float32", lambda g: float32(round(g.bell() * 64) / 64 or 0.5)),
        ("floats", "float32", lambda g: float32(g.bell())),
        ("steps", "int32", lambda g: int32(round(40 * g.bell()) or 1)),
    ]
    dice = Dice(7)
    for title, element, make in makers:
        for entries, density in ((1, 1.0), (100, 0.02), (1000, 0.3), (500, 0.95), (1500, 0.05)):
            positions = scattered(entries, density, dice)
            chunk = {position: make(dice) for position in positions}
            data = sass(element, entries, chunk)
            name = f"sass-{title}-n{entries}"
            mask, value = data[2], VALUES[data[3]]
            why = f"density {density}; the slow encoder chose mask encoding {mask} and {value}"
            yield ValidFrame(name, data, element, entries, chunk, why)
    chunk = signs(scattered(2**18, 0.02, dice), dice)
    data = encode("float32", 2**18, chunk, ("gaps", 5), ("sign", 0))
    why = "a chunk of the default length"
    yield ValidFrame("gaps-n262144", data, "float32", 2**18, chunk, why)
