"""tvbank's own decoder of frames against the vectors, and against the reference decoder."""

import hashlib
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import name_of, vectors

from spec.reference.frame import NeedsBase
from spec.reference.frame import decode_frame as decode_slowly
from spec.reference.invalid import Invalid
from spec.reference.weights import exponent_bytes
from tools.vectors.frames import encoder as slow
from tvbank.coding import decode_frame, decode_sparse, encode_frame, read_header
from tvbank.errors import BaseNeededError, FrameError

VALID_FRAMES = vectors("frames/valid")
INVALID_FRAMES = vectors("frames/invalid")


@pytest.mark.parametrize("vector", VALID_FRAMES, ids=name_of)
def test_valid_frame(vector):
    expected = vector.expected
    positions, values = decode_sparse(vector.data, expected["entries"], vector.base)
    assert values.dtype.name == expected["element"]
    assert len(positions) == len(values) == expected["nonzeros"]
    header = read_header(vector.data)
    assert (header.mask, header.values) == (expected["mask"], expected["value"])
    if "positions" in expected:
        assert positions.tolist() == expected["positions"]
        assert [f"{pattern:08x}" for pattern in values.view(np.uint32)] == expected["patterns"]
    else:
        dense = decode_frame(vector.data, expected["entries"], vector.base)
        assert hashlib.sha256(dense.tobytes()).hexdigest() == expected["dense_sha256"]


@pytest.mark.parametrize("vector", INVALID_FRAMES, ids=name_of)
@pytest.mark.parametrize("decode", [decode_frame, decode_sparse])
def test_invalid_frame(vector, decode):
    with pytest.raises(FrameError) as raised:
        decode(vector.data, vector.expected.get("expected_entries"), vector.base)
    assert raised.value.reason == vector.expected["reason"]


@pytest.mark.parametrize(
    "vector", [each for each in VALID_FRAMES if each.name.startswith("sass-")], ids=name_of
)
def test_both_encoders_make_the_same_smallest_frame(vector):
    chunk = decode_frame(vector.data)
    assert encode_frame(chunk) == vector.data


@given(st.data())
def test_encoders_agree_on_any_small_chunk(data):
    element = data.draw(st.sampled_from(["float32", "int32"]))
    few = st.sampled_from([1, 2, 0x3F000000, 0xBF000000, 0xFFFFFFFF, 0x80000000])
    entries = data.draw(st.integers(1, 70))
    places = st.integers(0, entries - 1)
    patterns = data.draw(st.sampled_from([few, st.integers(1, 2**32 - 1)]))
    chunk = data.draw(st.dictionaries(places, patterns, max_size=entries))
    dense = np.zeros(entries, np.uint32)
    dense[list(chunk)] = list(chunk.values())
    fast = encode_frame(dense.view(element), values="raw" if chunk else None)
    positions = sorted(chunk)
    if not positions:
        assert fast == slow.sass(element, entries, chunk)
        return
    sizes = {
        (name, parameter): len(slow.mask_section(name, parameter, positions))
        for name in slow.MASKS[2 : slow.FIRST_MASKS]
        for parameter in slow.mask_parameters(name, positions)
    }
    smallest = min(sizes, key=lambda each: sizes[each])
    if positions == list(range(len(positions))):
        smallest = ("full", 0)
    assert fast == slow.encode(element, entries, chunk, smallest, ("raw", 0))


#: Frames to damage, with the number of entries their bank would expect, and a base if they need it.
SEEDS = [
    (vector.data, vector.expected["entries"], vector.base)
    for vector in VALID_FRAMES
    if vector.expected["entries"] <= 2000
] + [(vector.data, 64, vector.base) for vector in INVALID_FRAMES]


@st.composite
def damaged_frames(draw):
    """A frame of the vectors after a few changes, most of them where they matter."""
    data, entries, base = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(data) - 1, 0)) | st.integers(0, 40))
        kind = draw(st.sampled_from(["flip", "set", "cut", "insert", "encoding", "u16", "u32"]))
        if kind == "flip" and at < len(data):
            bit = 1 << draw(st.integers(0, 7))
            data = data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]
        elif kind == "set":
            data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + draw(st.integers(1, 4)) :]
        elif kind == "insert":
            data = data[:at] + draw(st.binary(min_size=1, max_size=4)) + data[at:]
        elif kind == "encoding":
            place = draw(st.sampled_from([2, 3]))
            data = data[:place] + bytes([draw(st.integers(0, 10))]) + data[place + 1 :]
        elif kind == "u16" and len(data) >= 24:
            place = draw(st.sampled_from([4, 6]))
            low, high = draw(st.integers(0, 32)), draw(st.sampled_from([0, 0, 1, 24, 25]))
            data = data[:place] + bytes([low, high]) + data[place + 2 :]
        elif kind == "u32" and len(data) >= 24:
            place = draw(st.sampled_from([8, 12, 16, 20]))
            (number,) = struct.unpack_from("<I", data, place)
            changed = (number + draw(st.sampled_from([-1, 1, 8, -8, 2**31]))) % 2**32
            data = data[:place] + struct.pack("<I", changed) + data[place + 4 :]
    known = len(data) < 12 or struct.unpack_from("<I", data, 8)[0] > 5000
    if base is not None:
        # Of another size now and then, but never so short that an extent would reach beyond it.
        kind = draw(st.sampled_from([np.uint16, np.uint16, np.uint32]))
        base = np.resize(base.view(np.uint16), 5000 * (2 if kind == np.uint32 else 1)).view(kind)
        base = draw(st.sampled_from([base, base, np.zeros_like(base), None]))
    return data, entries if known else draw(st.sampled_from([None, entries])), base


def outcome(decode, data, entries, base):
    """What a decoder returns, or the reason why it refuses."""
    try:
        return decode(data, entries, base)
    except (Invalid, FrameError) as error:
        return error.reason
    except (NeedsBase, BaseNeededError):
        return "needs the base"


def slow_decode(data, entries=None, base=None):
    """The reference decoder, given a base as ours is."""
    if base is None:
        return decode_slowly(data, entries)
    dtype = "float32" if base.itemsize == 4 else "bfloat16"
    return decode_slowly(data, entries, exponent_bytes(dtype, base.tobytes()))


@given(damaged_frames())
@settings(max_examples=1500)
def test_decoders_agree_on_damaged_frames(damaged):
    expected = outcome(slow_decode, *damaged)
    dense = outcome(decode_frame, *damaged)
    sparse = outcome(decode_sparse, *damaged)
    if isinstance(expected, str) or isinstance(dense, str) or isinstance(sparse, str):
        assert expected == dense == sparse
        return
    positions, values = sparse
    assert dense.dtype.name == values.dtype.name == expected.element
    assert dense.view(np.uint32).tolist() == expected.dense()
    assert positions.tolist() == list(expected.positions)
    assert values.view(np.uint32).tolist() == list(expected.patterns)
