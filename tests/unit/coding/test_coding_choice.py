"""What SASS takes for masks and values of known kinds, and what it refuses."""

import numpy as np
import pytest

from tvbank.coding import MAX_ENTRIES, decode_frame, encode_frame, frame_sizes, read_header
from tvbank.errors import UsageError

N = 1 << 14
RANDOM = np.random.default_rng(7)


def iid(density, values=(-0.25, 0.25)):
    chunk = np.zeros(N, np.float32)
    mask = RANDOM.random(N) < density
    chunk[mask] = RANDOM.choice(np.array(values, np.float32), mask.sum())
    return chunk


def clustered():
    return np.where(np.repeat(np.arange(N // 256) % 5 == 0, 256), iid(1), np.float32(0))


def first(chunk, count):
    chunk = chunk.copy()
    chunk[count:] = 0
    return chunk


MASKS = {
    "empty": np.zeros(N, np.float32),
    "full": first(iid(1), 1000),
    "bitmap": iid(0.5),
    "index": np.eye(1, N, 9000, dtype=np.float32)[0],
    "holes": iid(0.9),
    "runs": clustered(),
    "gaps": iid(0.01),
    "blocks": iid(0.2),
}

VALUES = {
    "none": MASKS["empty"],
    "sign": MASKS["gaps"],
    "table": iid(0.3, (0.1, 0.7, 3.3)),
    "affine": iid(0.3, np.arange(64) * 0.125 - 3.0625),
    "float16": iid(0.3, RANDOM.standard_normal(900).astype(np.float16)),
    "bfloat16": np.float32(2) ** RANDOM.integers(-120, 120, N) * RANDOM.integers(1, 99, N),
    "raw": RANDOM.standard_normal(N).astype(np.float32),
    "rice": RANDOM.geometric(0.01, N).astype(np.int32),
}


@pytest.mark.parametrize("mask", MASKS)
def test_the_mask_encoding_follows_the_mask(mask):
    assert read_header(encode_frame(MASKS[mask])).mask == mask


@pytest.mark.parametrize("values", VALUES)
def test_the_value_encoding_follows_the_values(values):
    chunk = VALUES[values]
    frame = encode_frame(chunk.astype(np.float32) if chunk.dtype == np.float64 else chunk)
    assert read_header(frame).values == values


def test_a_value_of_one_sign_needs_no_signs():
    frame = encode_frame(iid(0.05, (0.25,)))
    assert read_header(frame).values == "table"
    assert read_header(frame).value_bytes == 4


def test_ties_go_to_the_faster_decoder():
    single = np.float32([0.1])
    header = read_header(encode_frame(single))
    assert (header.mask, header.values) == ("full", "table")
    halves = np.float32(2) ** np.arange(-5, 5, dtype=np.float32)
    sizes = frame_sizes(halves)
    assert sizes.values["float16"] == sizes.values["bfloat16"] == 20
    assert read_header(encode_frame(halves)).values == "float16"


def test_slack_trades_bytes_for_speed():
    chunk = iid(0.2)
    assert read_header(encode_frame(chunk)).mask == "blocks"
    assert read_header(encode_frame(chunk, slack=0.05)).mask == "gaps"
    assert read_header(encode_frame(chunk, slack=0.5)).mask == "bitmap"
    assert read_header(encode_frame(chunk, slack=0.5, mask="gaps")).mask == "gaps"


def test_a_hint_of_the_row_finds_dense_rows_and_columns():
    rows, columns = np.indices((200, 80))
    chunk = np.where((rows % 7 == 0) | (columns % 9 == 0), iid(0.7)[:16000].reshape(200, 80), 0)
    chunk = chunk.astype(np.float32).reshape(-1)
    blind, told, wrong = (
        frame_sizes(chunk, **hint).masks["blocks"] for hint in ({}, {"row": 80}, {"row": 79})
    )
    assert told < 0.7 * blind
    assert told < 0.9 * wrong
    shifted = np.append(np.ones(30, np.float32), chunk)
    assert frame_sizes(shifted, row=80, phase=50).masks["blocks"] < 1.1 * told


@pytest.mark.parametrize("hint", [{"row": 0}, {"row": 5, "phase": 5}, {"phase": 1}])
def test_a_phase_outside_of_its_row_is_refused(hint):
    with pytest.raises(UsageError, match="cannot begin"):
        encode_frame(iid(0.1), **hint)


@pytest.mark.parametrize("slack", [-0.1, float("nan"), float("inf")])
def test_slack_out_of_range_is_refused(slack):
    with pytest.raises(UsageError, match="slack must be"):
        encode_frame(iid(0.1), slack=slack)


def test_forcing_what_cannot_hold_the_chunk_names_it_and_what_can():
    chunk = np.float32([0.1, 0, 0.2, 0.4])
    with pytest.raises(UsageError, match=r"'full' cannot hold .* bitmap, index"):
        encode_frame(chunk, mask="full")
    with pytest.raises(UsageError, match=r"'sign' cannot hold .* raw can"):
        encode_frame(chunk, values="sign")
    with pytest.raises(UsageError, match=r"'empty' cannot hold"):
        encode_frame(chunk, mask="empty")
    with pytest.raises(UsageError, match=r"'raw' cannot hold .* none can"):
        encode_frame(np.zeros(4, np.int32), values="raw")
    with pytest.raises(UsageError, match=r"no encoding is called 'zip'; there are empty"):
        encode_frame(chunk, mask="zip")


@pytest.mark.parametrize(
    "chunk",
    [
        np.zeros(3),
        np.zeros(3, np.int64),
        np.zeros(3, ">f4"),
        np.zeros((2, 2), np.float32),
        np.zeros(0, np.float32),
        np.float32(1),
        [1.0, 2.0],
    ],
)
def test_what_is_no_chunk_is_refused(chunk):
    with pytest.raises(UsageError, match="a chunk"):
        encode_frame(chunk)
    with pytest.raises(UsageError, match="a chunk"):
        frame_sizes(chunk)


def test_the_longest_chunk_round_trips_and_a_longer_one_is_refused():
    longer = np.zeros(MAX_ENTRIES + 1, np.int32)
    with pytest.raises(UsageError, match="1 to 16777216"):
        encode_frame(longer)
    chunk = longer[:-1]
    chunk[[0, 5, MAX_ENTRIES // 2, MAX_ENTRIES - 1]] = [1, -1, 2**31 - 1, -(2**31)]
    for mask in ("bitmap", "index", "runs", "gaps", "grouped", "blocks"):
        frame = encode_frame(chunk, mask=mask, values="rice")
        assert np.array_equal(decode_frame(frame), chunk)
    assert len(encode_frame(chunk)) < 60


def steps_given(moved, base):
    """One step wherever ``moved``; frames are given the base, of rows of 512."""
    steps = np.where(moved, np.int32(1), np.int32(0)).reshape(-1)
    told = {"row": 512, "base": base.astype(np.float16).reshape(-1), "version": 2}
    return encode_frame(steps, **told), frame_sizes(steps, **told)


def test_beside_the_base_only_what_it_cannot_tell_has_all_encodings_tried():
    dice = np.random.default_rng(0)
    chance, base = dice.random((256, 512)), dice.normal(size=(256, 512))
    by_exponent, sizes = steps_given(chance < 0.1 / (1 + 8 * np.abs(base)), base)
    assert read_header(by_exponent).mask == "base-blocks"
    assert len(by_exponent) <= 1.005 * sizes.frame
    by_column, sizes = steps_given(chance < np.where(np.arange(512) % 2, 0.3, 0.0), base)
    assert read_header(by_column).mask == "blocks"
    assert len(by_column) == sizes.frame
    in_runs, sizes = steps_given(np.repeat(chance[:, ::16] < 0.2, 16, axis=1), base)
    assert len(in_runs) == sizes.frame
