"""decode(encode(chunk)) is the chunk, bit for bit, in every encoding; sizes are foretold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvbank.coding import (
    HEADER_BYTES,
    MASK_ENCODINGS,
    VALUE_ENCODINGS,
    FrameHeader,
    decode_frame,
    decode_sparse,
    encode_frame,
    frame_length,
    frame_sizes,
    read_header,
)
from tvbank.coding.masks import MASKS
from tvbank.coding.masks.mask import Mask
from tvbank.coding.values import VALUES
from tvbank.coding.values.facts import Values
from tvbank.errors import UsageError
from tvbank.testing import chunks, frames, hints


def assert_restored(frame, chunk):
    dense = decode_frame(frame, chunk.size)
    assert dense.dtype == chunk.dtype
    assert dense.tobytes() == chunk.tobytes()
    assert dense.flags.writeable
    positions, values = decode_sparse(frame, chunk.size)
    assert positions.dtype == np.uint32
    assert positions.tolist() == np.flatnonzero(chunk.view(np.uint32)).tolist()
    assert values.dtype == chunk.dtype
    assert values.tobytes() == chunk[positions].tobytes()


@given(chunks(), hints())
def test_the_smallest_frame_restores_the_chunk_and_has_the_predicted_size(chunk, hint):
    frame = encode_frame(chunk, **hint)
    assert len(frame) == frame_sizes(chunk, **hint).frame
    assert frame_length(chunk, **hint) == (len(frame) if read_header(frame).nonzeros else 0)
    assert_restored(frame, chunk)


@given(chunks(largest=300), hints())
def test_every_encoding_restores_the_chunk_and_has_the_predicted_size(chunk, hint):
    sizes = frame_sizes(chunk, version=2, **hint)
    for mask, size in sizes.masks.items():
        if size is None:
            with pytest.raises(UsageError, match=mask):
                encode_frame(chunk, mask=mask, **hint)
        else:
            frame = encode_frame(chunk, mask=mask, **hint)
            assert read_header(frame).mask == mask
            assert read_header(frame).mask_bytes == size
            assert_restored(frame, chunk)
    for values, size in sizes.values.items():
        if size is None:
            with pytest.raises(UsageError, match=values):
                encode_frame(chunk, values=values)
        else:
            frame = encode_frame(chunk, values=values)
            assert read_header(frame).values == values
            assert len(frame) == HEADER_BYTES + read_header(frame).mask_bytes + size
            assert_restored(frame, chunk)


@settings(max_examples=40)
@given(chunks(largest=200), hints())
def test_sass_is_the_minimum_over_every_encoding_and_parameter(chunk, hint):
    patterns = chunk.view(np.uint32)
    where = Mask.of(patterns, **hint)
    what = Values(chunk.dtype.name, patterns[patterns != 0])
    sections = {}
    for encodings, facts in ((MASKS, where), (VALUES, what)):
        sections[encodings] = [
            (encoding.encode(facts, parameter).tobytes(), encoding, parameter)
            for encoding in encodings
            for parameter in encoding.parameters(facts)
        ]
        for section, encoding, parameter in sections[encodings]:
            assert len(section) == encoding.section_bytes(facts, parameter)
    mask = min(sections[MASKS], key=lambda each: (len(each[0]), each[1].id, each[2]))
    values = min(sections[VALUES], key=lambda each: (len(each[0]), each[1].id, each[2]))
    frame = encode_frame(chunk, version=2, **hint)
    assert frame == _frame(chunk, where, mask, values)
    for each in sections[MASKS]:
        assert_restored(_frame(chunk, where, each, values), chunk)
    for each in sections[VALUES]:
        assert_restored(_frame(chunk, where, mask, each), chunk)


def _frame(chunk, where, mask, values):
    header = FrameHeader(
        element=chunk.dtype.name,
        mask=mask[1].name,
        values=values[1].name,
        mask_parameter=mask[2],
        value_parameter=values[2],
        entries=chunk.size,
        extent=where.extent,
        nonzeros=where.nonzeros,
        mask_bytes=len(mask[0]),
    )
    return header.to_bytes() + mask[0] + values[0]


@given(chunks(), st.sampled_from([0.0, 0.01, 0.2, 1.0, 100.0]))
def test_slack_buys_a_faster_decoder_and_no_more_bytes_than_it_says(chunk, slack):
    frame = encode_frame(chunk, slack=slack, version=2)
    assert_restored(frame, chunk)
    header = read_header(frame)
    sizes = frame_sizes(chunk, version=2)
    value_bytes = len(frame) - HEADER_BYTES - header.mask_bytes
    for chosen, size, names, all_sizes in (
        (header.mask, header.mask_bytes, MASK_ENCODINGS, sizes.masks),
        (header.values, value_bytes, VALUE_ENCODINGS, sizes.values),
    ):
        most = (1 + slack) * min(each for each in all_sizes.values() if each is not None)
        assert size == all_sizes[chosen] <= most
        for faster in names[: names.index(chosen)]:
            assert all_sizes[faster] is None or all_sizes[faster] > most


@given(chunks(), hints())
def test_the_same_chunk_gives_the_same_bytes(chunk, hint):
    frame = encode_frame(chunk, **hint)
    assert encode_frame(chunk.copy(), **hint) == frame
    strided = np.zeros(2 * chunk.size, chunk.dtype)
    strided.view(np.uint32)[::2] = chunk.view(np.uint32)
    assert encode_frame(strided[::2], **hint) == frame
    shifted = np.frombuffer(b"x" + chunk.tobytes(), chunk.dtype, offset=1)
    assert encode_frame(shifted, **hint) == frame


@given(frames())
def test_any_buffer_will_do(frame):
    dense = decode_frame(frame)
    shifted = memoryview(b"x" + frame)[1:]
    for buffer in (bytearray(frame), shifted, np.frombuffer(frame, np.uint8)):
        assert decode_frame(buffer).tobytes() == dense.tobytes()


@given(frames())
def test_the_header_says_what_the_chunk_is(frame):
    header = read_header(frame[:HEADER_BYTES])
    assert header.to_bytes() == frame[:HEADER_BYTES]
    patterns = decode_frame(frame).view(np.uint32)
    assert header.entries == patterns.size
    assert header.nonzeros == np.count_nonzero(patterns)
    assert header.extent == (np.flatnonzero(patterns)[-1] + 1 if header.nonzeros else 0)
    if header.value_bytes is not None:
        assert len(frame) == HEADER_BYTES + header.mask_bytes + header.value_bytes
