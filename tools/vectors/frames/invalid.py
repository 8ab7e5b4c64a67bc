"""The invalid frame vectors: every reason, most of them several ways, and faults that coincide."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from tools.vectors._names import distinct_names
from tools.vectors.frames.blocks_faults import blocks_faults
from tools.vectors.frames.encoder import encode, frame
from tools.vectors.frames.given_faults import BASE, given_faults
from tools.vectors.frames.parts import (
    ZEROS,
    FrameFault,
    bits,
    masked,
    rice,
    rice_values,
    valued,
    worked,
)
from tools.vectors.frames.section_faults import mask_faults, value_faults
from tools.vectors.frames.steps_faults import steps_faults


@dataclass(frozen=True)
class InvalidFrame:
    name: str
    data: bytes
    reason: str
    entries: int | None
    why: str
    dtype: str | None = None
    base: bytes = b""


def invalid_frames() -> Iterator[InvalidFrame]:
    faults = (*_header(), *mask_faults(), *blocks_faults(), *value_faults(), *_coincidences(),
              *_second_version(), *steps_faults())  # fmt: skip
    names = distinct_names((reason, why) for reason, _, why, *_ in faults)
    for name, (reason, data, why, *entries) in zip(names, faults, strict=True):
        yield InvalidFrame(name, data, reason, entries[0] if entries else None, why)
    faults = tuple(given_faults())
    names = distinct_names((reason, f"given {why}") for reason, _, why, *_ in faults)
    for name, (reason, data, why, *_) in zip(names, faults, strict=True):
        yield InvalidFrame(name, data, reason, None, why, "bfloat16", BASE)


def _header() -> list[FrameFault]:
    whole = worked()
    raw = encode("float32", 8, {0: 1}, ("bitmap", 0), ("raw", 0))
    return [
        ("frame-truncated", b"", "no bytes at all"),
        ("frame-truncated", whole[:1], "the version alone"),
        ("frame-truncated", whole[:23], "one byte short of the header"),
        ("frame-version", worked(version=0), "version 0"),
        ("frame-version", worked(version=2), "version 2"),
        ("frame-version", b"\xff" * 24, "all bits set: the first field decides"),
        ("element-type", worked(element=2), "element type 2"),
        ("element-type", worked(element=255), "element type 255"),
        ("mask-encoding", worked(mask=9), "mask encoding 9"),
        ("mask-encoding", worked(mask=128), "mask encoding 128"),
        ("value-encoding", worked(value=8), "value encoding 8"),
        ("value-encoding", worked(value=0), "none with a mask that is not empty"),
        ("value-encoding", worked(mask=0), "an empty mask with values"),
        ("value-encoding", worked(value=7), "rice is for int32 only"),
        ("value-encoding", worked(element=1, value=3), "affine is for float32 only"),
        ("value-encoding", worked(element=1, value=4), "float16 is for float32 only"),
        ("value-encoding", worked(element=1, value=5), "bfloat16 is for float32 only"),
        ("count", worked(entries=0, extent=0, nonzeros=0), "no entries"),
        ("count", worked(entries=2**24 + 1), "one entry too many"),
        ("count", worked(entries=2**32 - 1), "4 billion entries in 31 bytes"),
        ("count", worked(extent=65), "the extent passes the end of the chunk"),
        ("count", worked(nonzeros=41), "more non-zeros than the extent holds"),
        ("count", worked(nonzeros=0), "an extent without non-zeros"),
        ("count", worked(nonzeros=0, extent=0), "no non-zeros, and yet no empty mask"),
        ("count", worked(mask=0, value=0, mask_parameter=0), "an empty mask with non-zeros"),
        (
            "count",
            worked(mask=0, value=0, mask_parameter=0, nonzeros=0),
            "an empty mask with an extent",
        ),
        ("count", masked("full", 0, b""), "full, and yet fewer non-zeros than the extent"),
        ("entries-mismatch", whole, "64 entries where the caller expects 65", 65),
        ("entries-mismatch", worked(entries=2**24), "2^24 entries, 64 expected", 64),
        ("mask-parameter", masked("empty", 1, b"", value=0, extent=0, nonzeros=0), "empty: 1"),
        ("mask-parameter", frame("float32", 4, [0], ("full", 1), b"", ("raw", 0), b"1234"), "full"),
        ("mask-parameter", masked("bitmap", 1, b"\x80\x10\0\0\x80"), "bitmap: 1"),
        ("mask-parameter", masked("index", 5, b"\x07\x73\x02"), "index: fewer bits than needed"),
        ("mask-parameter", masked("index", 7, b"\x07\x73\x02"), "index: more bits than needed"),
        ("mask-parameter", masked("holes", 25, b"\0"), "holes: k = 25"),
        ("mask-parameter", masked("gaps", 25, b"\0"), "gaps: k = 25"),
        ("mask-parameter", masked("gaps", 259, b"\x9f\x28"), "gaps: no second parameter"),
        ("mask-parameter", masked("runs", 25, b"\0"), "runs: k0 = 25"),
        ("mask-parameter", masked("runs", 25 * 256, b"\0"), "runs: k1 = 25"),
        ("mask-parameter", masked("grouped", 0, b"\0"), "grouped: groups of one"),
        ("mask-parameter", masked("grouped", 17, b"\0"), "grouped: s = 17"),
        ("mask-parameter", masked("blocks", 15, b"\0"), "blocks: rows of 15"),
        ("mask-parameter", masked("blocks", 0, b""), "blocks: rows of nothing"),
        ("value-parameter", worked(value_parameter=1), "sign: 1"),
        ("value-parameter", valued("table", 0, b""), "table of no entries"),
        ("value-parameter", valued("table", 257, b""), "table of 257 entries"),
        ("value-parameter", valued("affine", 0, b""), "affine with codes of 0 bits"),
        ("value-parameter", valued("affine", 9, b""), "affine with codes of 9 bits"),
        ("value-parameter", valued("float16", 1, b""), "float16: 1"),
        ("value-parameter", valued("bfloat16", 1, b""), "bfloat16: 1"),
        ("value-parameter", raw[:6] + b"\1\0" + raw[8:], "raw: 1"),
        ("value-parameter", valued("rice", 32, b"", "int32"), "rice: k = 32"),
    ]


def _second_version() -> list[FrameFault]:
    steps = encode("int32", 8, {0: 1, 2: 1}, ("bitmap", 0), ("magnitudes", 0))
    return [
        ("frame-version", worked(version=3, value=8), "version 3"),
        ("value-encoding", b"\1" + steps[1:], "magnitudes in a frame of version 1"),
        ("value-encoding", steps[:1] + b"\0" + steps[2:], "magnitudes are for int32 only"),
        ("value-encoding", steps[:3] + b"\x80" + steps[4:], "version 2, value encoding 128"),
        ("value-parameter", steps[:6] + b"\1" + steps[7:], "magnitudes: 1"),
    ]


def _coincidences() -> list[FrameFault]:
    """Frames with two faults: the line that comes first in frame.md is reported."""
    short = rice((7, 3), (4, 3), (25, 3))
    return [
        ("frame-version", worked(version=3, element=9, mask=77), "before all later fields"),
        ("value-encoding", worked(value=9, entries=0), "before count"),
        ("count", worked(extent=65), "before entries-mismatch", 65),
        ("entries-mismatch", worked(mask_parameter=99), "before mask-parameter", 65),
        ("mask-parameter", worked(mask_parameter=99, value_parameter=1), "before the value's"),
        ("value-parameter", worked(value_parameter=1, mask_bytes=99), "before any section"),
        ("mask-section", masked("gaps", 3, short + b"\1"), "the size before the position"),
        (
            "mask-section",
            masked("gaps", 1, rice((99, 1), (4, 1, True))),
            "a missing symbol before position and escape",
        ),
        ("padding", masked("gaps", 3, short[:1] + bytes([short[1] | 0x80])), "before position"),
        (
            "non-canonical",
            masked("gaps", 3, rice((7, 3), (4, 3, True), (25, 3))),
            "before position",
        ),
        (
            "padding",
            masked("bitmap", 0, b"\x08", extent=3)[:-1],
            "of the mask, before the value section is looked at",
        ),
        ("position", masked("gaps", 3, short)[:-1], "before a truncated value section"),
        ("position", masked("gaps", 3, short) + b"\0", "before a trailing byte"),
        (
            "code",
            valued("table", 3, struct.pack("<3I", 7, 6, 5) + bits("00 11 01")),
            "before table",
        ),
        ("padding", valued("table", 2, ZEROS + ZEROS + b"\x81"), "before table"),
        ("padding", worked()[:26] + ZEROS + b"\xf6", "before magnitude"),
        (
            "value",
            valued("float16", 0, struct.pack("<3H", 0, 0x3800, 0x7E00)),
            "before zero-value",
        ),
        ("frame-trailing", valued("raw", 0, ZEROS * 3 + b"\0"), "before zero-value"),
        (
            "non-canonical",
            valued("rice", 0, rice_values((1, 0, True), (2**32, 0), (1, 0)), "int32"),
            "before value",
        ),
    ]
