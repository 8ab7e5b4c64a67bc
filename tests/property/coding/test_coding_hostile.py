"""Damaged frames are refused with a reason, or decode to a chunk: never a crash or a wild write."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvbank.coding import (
    MASK_ENCODINGS,
    MAX_ENTRIES,
    REASONS,
    VALUE_ENCODINGS,
    decode_frame,
    decode_sparse,
    encode_frame,
    frame_sizes,
    read_header,
)
from tvbank.errors import BaseNeededError, FrameError
from tvbank.testing import frames, mutated_frames

#: The outcome of frames that are given the base: ``test_fast_vectors`` decodes these.
NEEDS_BASE = "needs the base"


def attempt(decode, frame):
    try:
        return None, decode(frame)
    except FrameError as error:
        return error.reason, None
    except BaseNeededError:
        return NEEDS_BASE, None


def outcome(frame):
    """The reason for which both decoders refuse a frame, or the chunk on which both agree."""
    reason, dense = attempt(decode_frame, frame)
    reason_sparse, sparse = attempt(decode_sparse, frame)
    assert reason == reason_sparse
    if reason is not None:
        assert reason in (*REASONS, NEEDS_BASE)
        return reason
    positions, values = sparse
    assert (np.diff(positions.astype(np.int64)) > 0).all()
    assert positions.size == np.count_nonzero(dense.view(np.uint32))
    assert dense[positions].tobytes() == values.tobytes()
    return dense


@cache
def samples():
    """(mask encoding, value encoding) -> small frames."""
    sparse = np.zeros(70, np.float32)
    sparse[[3, 4, 5, 31, 64]] = [0.5, -0.5, -0.5, 0.5, -0.5]
    dense = np.where(np.arange(40) % 9 == 4, 0, np.arange(-20, 20) * 3).astype(np.int32)
    by_names = {}
    for chunk in (sparse, dense, np.zeros(5, np.int32), np.float32([0.5, -1, 3])):
        sizes = frame_sizes(chunk, version=2)
        for mask, values in [
            *((name, None) for name, size in sizes.masks.items() if size is not None),
            *((None, name) for name, size in sizes.values.items() if size is not None),
        ]:
            frame = encode_frame(chunk, mask=mask, values=values)
            header = read_header(frame)
            by_names.setdefault((header.mask, header.values), []).append(frame)
    return by_names


@pytest.fixture(params=[n for n in (*MASK_ENCODINGS, *VALUE_ENCODINGS) if "base-" not in n])
def frames_in(request):
    """The samples in one encoding of masks or of values."""
    found = [frame for names, some in samples().items() if request.param in names for frame in some]
    assert found
    return found


def test_every_truncation_is_refused(frames_in):
    for frame in frames_in:
        for length in range(len(frame)):
            assert isinstance(outcome(frame[:length]), str)


def test_every_flipped_bit_is_refused_or_changes_the_chunk(frames_in):
    for frame in frames_in:
        whole = decode_frame(frame)
        for bit in range(8 * len(frame)):
            flipped = bytearray(frame)
            flipped[bit // 8] ^= 1 << bit % 8
            if int.from_bytes(flipped[8:12], "little") > 1000 and bit // 8 in range(8, 12):
                continue  # a longer chunk with the same non-zeros is valid, but slow to read
            found = outcome(bytes(flipped))
            # Only the element type, an unused table entry or a parameter of no consequence may
            # change without changing an entry.
            changed = isinstance(found, str) or found.tobytes() != whole.tobytes()
            assert changed or bit // 8 < 8


@settings(max_examples=300)
@given(mutated_frames())
def test_damage_is_refused_or_decodes_to_a_chunk(frame):
    header = frame[8:12]
    if int.from_bytes(header, "little") <= 100_000:
        outcome(frame)


@given(frames(), st.binary(min_size=1, max_size=9))
def test_bytes_behind_a_frame_are_refused(frame, more):
    assert outcome(frame + more) == "frame-trailing"


@given(frames(), st.integers(0, 2**32))
def test_another_length_than_expected_is_refused(frame, entries):
    if entries != read_header(frame).entries:
        for decode in (read_header, decode_frame, decode_sparse):
            with pytest.raises(FrameError) as refused:
                decode(frame, entries)
            assert refused.value.reason == "entries-mismatch"


@given(st.binary(max_size=80))
def test_noise_behind_a_plausible_header(noise):
    for mask in (4, 5, 6, 8):
        for element, values in ((0, 1), (1, 7)):
            sizes = (MAX_ENTRIES, MAX_ENTRIES - 1, 40, len(noise) // 2)
            words = b"".join(size.to_bytes(4, "little") for size in sizes)
            found = outcome(
                bytes([1, element, mask, values, 32 if mask == 8 else 2, 0, 0, 0]) + words + noise
            )
            assert isinstance(found, str)
