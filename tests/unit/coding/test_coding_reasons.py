"""Handcrafted frames for the lines of the spec's table of faults, and for their order."""

import struct

import numpy as np
import pytest

from tvbank.coding import REASONS, decode_frame, decode_sparse
from tvbank.errors import FrameError

EMPTY, FULL, BITMAP, INDEX, HOLES, RUNS, GAPS, GROUPED, BLOCKS = range(9)
NONE, SIGN, TABLE, AFFINE, FLOAT16, BFLOAT16, RAW, RICE = range(8)


def bits(text):
    """Bytes of a stream written bit by bit in its own order; blanks do not count."""
    digits = text.replace(" ", "")
    value = int(digits[::-1] or "0", 2)
    return value.to_bytes(-(-len(digits) // 8), "little")


def words(*values):
    return struct.pack(f"<{len(values)}I", *values)


def frame(mask=BITMAP, value=SIGN, mask_section=b"", value_section=b"", *, k=0, parameter=0,
          n=40, e=None, m=3, version=1, element=0, mask_bytes=None):  # fmt: skip
    header = struct.pack(
        "<4B2H4I", version, element, mask, value, k, parameter,
        n, n if e is None else e, m, len(mask_section) if mask_bytes is None else mask_bytes,
    )  # fmt: skip
    return header + mask_section + value_section


# Non-zeros at 7, 12 and 39, as in the spec's examples: +0.5, -0.5 and -0.5.
BITS = bytes.fromhex("8010000080")
BLOCKS_16 = bytes.fromhex("00001900904f4e01a0735505030040007b99")
SIGNS = words(0x3F000000) + b"\x06"
VALID = frame(BITMAP, SIGN, BITS, SIGNS)
ESCAPE = "0" * 24


def with_header(**fields):
    return frame(BITMAP, SIGN, BITS, SIGNS, **fields)


def with_mask(mask, section, k=0, **fields):
    return frame(mask, SIGN, section, SIGNS, k=k, **fields)


def with_values(value, section, parameter=0, *, m=1, element=0):
    return frame(FULL, value, b"", section, parameter=parameter, n=m, m=m, element=element)


def escaped(value):
    return ESCAPE + f"{value:032b}"[::-1]


FAULTS = [
    ("frame-truncated", b""),
    ("frame-truncated", VALID[:23]),
    ("frame-version", with_header(version=2)),
    ("frame-version", with_header(version=0)),
    ("element-type", with_header(element=2)),
    ("mask-encoding", frame(mask=9)),
    ("value-encoding", frame(value=8)),
    ("value-encoding", frame(value=RICE)),
    ("value-encoding", frame(value=AFFINE, element=1)),
    ("value-encoding", frame(value=FLOAT16, element=1)),
    ("value-encoding", frame(value=BFLOAT16, element=1)),
    ("value-encoding", frame(value=NONE)),
    ("value-encoding", frame(EMPTY, RAW, e=0, m=0)),
    ("count", with_header(n=0)),
    ("count", with_header(n=2**24 + 1)),
    ("count", with_header(n=39, e=40)),
    ("count", with_header(m=41)),
    ("count", with_header(m=0)),
    ("count", frame(GAPS, RAW, e=0, m=0)),
    ("count", frame(EMPTY, NONE, m=0)),
    ("count", frame(FULL)),
    ("mask-parameter", with_header(k=1)),
    ("mask-parameter", frame(INDEX, k=7)),
    ("mask-parameter", frame(HOLES, k=25)),
    ("mask-parameter", frame(RUNS, k=25)),
    ("mask-parameter", frame(RUNS, k=25 * 256)),
    ("mask-parameter", frame(GAPS, k=25)),
    ("mask-parameter", frame(GROUPED, k=0)),
    ("mask-parameter", frame(GROUPED, k=17)),
    ("mask-parameter", frame(BLOCKS, k=15)),
    ("value-parameter", with_header(parameter=1)),
    ("value-parameter", frame(value=TABLE, parameter=0)),
    ("value-parameter", frame(value=TABLE, parameter=257)),
    ("value-parameter", frame(value=AFFINE, parameter=9)),
    ("value-parameter", frame(value=RICE, element=1, parameter=32)),
    ("mask-section", with_mask(BITMAP, BITS + b"\0")),
    ("mask-section", with_mask(FULL, b"\0", m=40)),
    ("mask-section", with_mask(GAPS, b"\x9f", k=3)),
    ("mask-section", with_mask(GAPS, b"\x9f\x28\0", k=3)),
    ("mask-section", with_mask(GAPS, bits("11" + ESCAPE))),
    ("mask-section", with_mask(HOLES, b"\x55", k=1)),
    ("mask-section", with_mask(RUNS, b"\xfe", k=2)),
    ("mask-section", with_mask(RUNS, b"\xfe\x81\x05\0", k=2)),
    ("mask-section", with_mask(BLOCKS, BLOCKS_16[:-1], k=16)),
    ("mask-section", with_mask(BLOCKS, BLOCKS_16[:-2], k=16)),
    ("mask-section", with_mask(BLOCKS, BLOCKS_16 + b"\0\0", k=16)),
    ("mask-parameter", with_mask(BLOCKS, b"\x10" + BLOCKS_16[1:], k=16)),
    ("frame-truncated", VALID[:26]),
    ("padding", with_mask(BITMAP, b"\x0e", n=3)),
    ("padding", with_mask(INDEX, b"\x07\x73\x06", k=6)),
    ("padding", with_mask(GAPS, b"\x9f\xa8", k=3)),
    ("padding", with_mask(GROUPED, b"\xf3\xf9\x03", k=3)),
    ("non-canonical", with_mask(HOLES, bits(escaped(1)), n=3, m=2)),
    ("non-canonical", with_mask(RUNS, bits("1" + escaped(2)), n=3)),
    ("non-canonical", with_mask(GAPS, bits(escaped(1) + "1"), n=3, m=2)),
    ("position", with_mask(BITMAP, bytes.fromhex("8010000081"))),
    ("position", with_mask(BITMAP, bytes.fromhex("8010010000"))),
    ("position", with_mask(INDEX, bits("111000 111000 111001"), k=6)),
    ("position", with_mask(INDEX, bits("111000 001100 011001"), k=6)),
    ("position", with_mask(GAPS, bits("1111 1001 0001 110"), k=3)),
    ("position", with_mask(HOLES, bits("0001"), n=4)),
    ("position", with_mask(RUNS, bits("1 001 1 1"), n=5)),
    ("position", with_mask(RUNS, bits("01 1 01 1"), n=5)),
    ("position", with_mask(RUNS, bits("1 00001"), n=4)),
    ("position", with_mask(GROUPED, bits("10 0011 11"), k=1, n=4)),
    ("position", with_mask(GROUPED, bits("11 000011"), k=1, n=4)),
    ("position", with_mask(GROUPED, bits("11 001011"), k=1, n=4)),
    ("position", with_mask(GROUPED, bits("11 010010"), k=1, n=4)),
    ("position", with_mask(GROUPED, bits("111 01 11"), k=1, n=6, m=2)),
    ("position", with_mask(GROUPED, bits("11 001101"), k=1, n=4)),
    ("frame-truncated", VALID[:-1]),
    ("frame-truncated", with_values(RICE, b"", element=1)),
    ("frame-truncated", with_values(RICE, b"\0" * 3, element=1)),
    ("frame-trailing", VALID + b"\0"),
    ("frame-trailing", frame(EMPTY, NONE, b"", b"\0", e=0, m=0)),
    ("frame-trailing", with_values(RICE, b"\x02\0", element=1)),
    ("padding", with_values(SIGN, words(1) + b"\x02")),
    ("padding", with_values(TABLE, words(1, 2) + b"\x02", 2)),
    ("padding", with_values(AFFINE, words(1, 2) + b"\x02", 1)),
    ("padding", with_values(RICE, b"\x06", element=1)),
    ("non-canonical", with_values(RICE, bits("0" + escaped(23)), element=1)),
    ("code", with_values(TABLE, words(1, 2, 3) + b"\x03", 3)),
    ("table", with_values(TABLE, words(2, 1) + b"\0", 2)),
    ("table", with_values(TABLE, words(1, 1) + b"\0", 2)),
    ("table", with_values(TABLE, words(0, 1) + b"\x01", 2)),
    ("magnitude", with_values(SIGN, words(0) + b"\0")),
    ("magnitude", with_values(SIGN, words(2**31) + b"\0", element=1)),
    ("value", with_values(FLOAT16, b"\x01\x7c")),
    ("value", with_values(AFFINE, words(0x7F800000, 1) + b"\0", 1)),
    ("value", with_values(AFFINE, words(1, 0x7FC00000) + b"\0", 1)),
    ("value", with_values(RICE, bits("0" + escaped(2**31 - 1)), element=1)),
    ("value", with_values(RICE, bits("1" + "001" + "0" * 31), 31, element=1)),
    ("zero-value", with_values(AFFINE, words(0, 1) + b"\0", 1)),
    ("zero-value", with_values(FLOAT16, b"\0\0")),
    ("zero-value", with_values(BFLOAT16, b"\0\0")),
    ("zero-value", with_values(RAW, words(0))),
]


def reason_of(data, entries=None):
    reasons = set()
    for decode in (decode_frame, decode_sparse):
        with pytest.raises(FrameError) as refused:
            decode(data, entries)
        reasons.add(refused.value.reason)
    return reasons.pop() if len(reasons) == 1 else reasons


def test_the_frame_that_the_others_differ_from_is_valid():
    chunk = np.zeros(40, np.float32)
    chunk[[7, 12, 39]] = [0.5, -0.5, -0.5]
    assert decode_frame(VALID).tobytes() == chunk.tobytes()


@pytest.mark.parametrize(("reason", "data"), FAULTS)
def test_a_fault_is_reported_with_its_reason(reason, data):
    assert reason_of(data) == reason


def test_every_reason_is_reachable():
    assert {reason for reason, _ in FAULTS} | {"entries-mismatch"} == set(REASONS)


#: Each frame has the fault named and others of later lines; the second item is the length expected.
BAD = {"k": 1, "parameter": 1, "mask_bytes": 99, "value_section": b"\0"}
PRECEDENCE = [
    ("frame-version", 7, frame(9, 9, version=9, element=9, n=0, **BAD)),
    ("element-type", 7, frame(9, 9, element=9, n=0, **BAD)),
    ("mask-encoding", 7, frame(9, 9, n=0, **BAD)),
    ("value-encoding", 7, frame(BITMAP, 9, n=0, **BAD)),
    ("count", 7, frame(n=0, **BAD)),
    ("entries-mismatch", 7, frame(**BAD)),
    ("mask-parameter", 40, frame(**BAD)),
    ("value-parameter", 40, frame(**BAD | {"k": 0})),
    ("mask-section", 40, frame(mask_bytes=99)),
    ("frame-truncated", 40, frame(mask_bytes=5)),
    ("frame-truncated", 40, frame(GAPS, mask_bytes=5)),
    # A stream that ends too soon, though a symbol before its end is a needless escape.
    ("mask-section", 40, frame(GAPS, SIGN, bits(escaped(0)))),
    ("padding", 4, frame(GAPS, SIGN, bits(escaped(0) + "1101"), n=4)),
    ("non-canonical", 4, frame(GAPS, SIGN, bits(escaped(0) + "11"), n=4)),
    ("position", 4, frame(GAPS, SIGN, bits("111"), n=4)),
    ("padding", 3, with_values(SIGN, words(0) + b"\x80", m=3)),
    ("padding", 3, with_values(TABLE, words(0, 0, 0) + b"\xff", 3, m=3)),
    ("code", 3, with_values(TABLE, words(0, 0, 0) + b"\x3f", 3, m=3)),
    ("value", 2, with_values(FLOAT16, b"\0\0\xff\xff", m=2)),
    ("frame-truncated", 2, with_values(RICE, bits("0" + escaped(0)), m=2, element=1)),
    ("non-canonical", 1, with_values(RICE, bits("0" + escaped(0)), element=1)),
]


@pytest.mark.parametrize(("reason", "entries", "data"), PRECEDENCE)
def test_the_first_of_several_faults_is_reported(reason, entries, data):
    assert reason_of(data, entries) == reason
