"""Shards: what was built is located; an index that lies is refused."""

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvbank.bank.shard import build_shard, check_frame, crc32c, index_bytes, parse_index
from tvbank.errors import FormatError

ABSENT = 2**64 - 1


@st.composite
def shards(draw):
    """Number of chunks of a shard, and some of them with frames of any bytes."""
    chunks = draw(st.integers(1, 40))
    present = draw(st.sets(st.integers(0, chunks - 1)))
    return chunks, {number: draw(st.binary(max_size=20)) for number in sorted(present)}


def index_of(shard, chunks):
    return parse_index(shard[-index_bytes(chunks) :], chunks, len(shard))


def with_index(payload, ranges):
    index = np.array(ranges, "<u8").tobytes()
    return payload + index + crc32c(index)


@given(shards())
def test_every_frame_is_found_and_nothing_else(shard):
    chunks, frames = shard
    data = build_shard(chunks, frames.items())
    if not frames:
        assert data is None
        return
    index = index_of(data, chunks)
    for number in range(chunks):
        place = index.locate(number)
        if number in frames:
            assert check_frame(data[slice(*place)]) == frames[number]
        else:
            assert place is None
    assert len(data) == sum(len(frame) + 4 for frame in frames.values()) + index_bytes(chunks)


@given(shards().filter(lambda shard: shard[1]), st.data())
def test_any_flipped_bit_is_seen(shard, data):
    chunks, frames = shard
    built = bytearray(build_shard(chunks, frames.items()))
    bit = data.draw(st.integers(0, 8 * len(built) - 1))
    intact = bytes(built)
    built[bit // 8] ^= 1 << bit % 8
    if bit // 8 >= len(built) - index_bytes(chunks):
        with pytest.raises(FormatError) as caught:
            index_of(bytes(built), chunks)
        assert caught.value.reason == "index-checksum"
        return
    index = index_of(intact, chunks)
    hit = next(n for n in frames if bit // 8 in range(*index.locate(n)))
    for number in frames:
        part = bytes(built)[slice(*index.locate(number))]
        if number != hit:
            assert check_frame(part) == frames[number]
            continue
        with pytest.raises(FormatError) as caught:
            check_frame(part)
        assert caught.value.reason == "frame-checksum"


LIES = {
    "overlap": [[0, 6], [5, 5]],
    "hole": [[0, 4], [5, 5]],
    "not from the start": [[1, 9], [ABSENT, ABSENT]],
    "not to the end": [[0, 9], [ABSENT, ABSENT]],
    "beyond the end": [[0, 11], [ABSENT, ABSENT]],
    "descending": [[5, 5], [0, 5]],
    "none at all": [[ABSENT, ABSENT], [ABSENT, ABSENT]],
    "half absent": [[0, 10], [ABSENT, 0]],
    "half present": [[0, 10], [10, ABSENT]],
    "sum overflows": [[0, 10], [2**63, 2**63]],
    "sum overflows to the end": [[0, ABSENT - 1], [ABSENT - 1, 12]],
    "largest numbers": [[ABSENT - 1, ABSENT - 1], [ABSENT - 1, 1]],
}


@pytest.mark.parametrize("ranges", LIES.values(), ids=LIES)
def test_an_index_that_lies_is_refused(ranges):
    with pytest.raises(FormatError) as caught:
        index_of(with_index(bytes(10), ranges), 2)
    assert caught.value.reason == "index-range"


def test_an_index_that_does_not_is_taken():
    index = index_of(with_index(bytes(10), [[ABSENT, ABSENT], [0, 10]]), 2)
    assert index.locate(0) is None
    assert index.locate(1) == (0, 10)


@given(st.binary(max_size=100), st.integers(1, 3))
def test_bytes_that_are_no_index(data, chunks):
    with pytest.raises(FormatError):
        parse_index(data, chunks, len(data))


@pytest.mark.parametrize("size", range(4))
def test_a_frame_shorter_than_its_checksum(size):
    with pytest.raises(FormatError) as caught:
        check_frame(bytes(size))
    assert caught.value.reason == "frame-checksum"


def test_the_checksum_is_the_one_of_zarr():
    assert crc32c(b"123456789") == (0xE3069283).to_bytes(4, "little")
    assert crc32c(memoryview(b"123456789")) == crc32c(b"123456789")
    assert int.from_bytes(crc32c(b"")) == google_crc32c.value(b"")
