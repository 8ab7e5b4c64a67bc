"""The decoder decodes what the reference decodes, refuses it for the same reason, and stays within.

Every section and every output ends where memory ends: a stray access would kill the process.
"""

import numpy as np
import pytest
from guarded import Guarded
from hypothesis import assume, example, given
from hypothesis import strategies as st

from spec.reference.frame import NeedsBase
from spec.reference.frame import decode_frame as slow_decode
from spec.reference.invalid import Invalid
from tvbank.coding import MASK_ENCODINGS, VALUE_ENCODINGS, decode_sparse, encode_frame, read_header
from tvbank.coding.decoding.decode import decode_frames
from tvbank.coding.decoding.patterns import VALUE_DECODERS, decode_patterns
from tvbank.coding.decoding.positions import (
    MASK_DECODERS,
    decode_positions,
    run_tables_address,
)
from tvbank.coding.decoding.table import (
    FRAME_COLUMNS,
    MASK,
    MASK_AT,
    MASK_BYTES,
    TAIL_BYTES,
    VALUE_BYTES,
    VALUES_AT,
)
from tvbank.coding.faults import NEEDS_BASE, REASONS
from tvbank.coding.header import HEADER_BYTES
from tvbank.errors import FrameError
from tvbank.switching.loops.recode import pack_frames, packed_limit
from tvbank.testing import frames, mutated_frames

TABLES = run_tables_address()


def table_of(frame):
    """A table of one row, and the memory that its sections lie in."""
    header = read_header(frame)
    stop = HEADER_BYTES + header.mask_bytes
    if stop > len(frame):
        raise FrameError("frame-truncated", "the mask section is not whole")
    mask, values = frame[HEADER_BYTES:stop], frame[stop:]
    memory = [
        Guarded(len(part) + TAIL_BYTES, part + b"\xff" * TAIL_BYTES) for part in (mask, values)
    ]
    row = (
        MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
        header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
        memory[0].address, len(mask), memory[1].address, len(values), 0, 0, 0,
    )  # fmt: skip
    return header, np.array([row], np.int64).reshape(1, FRAME_COLUMNS), memory


def fused(frame):
    """Positions and values as the reference has them; the reason for what is refused."""
    try:
        header, table, memory = table_of(frame)
    except FrameError as error:
        return error.reason
    found, patterns = (Guarded(4 * header.nonzeros) for _ in range(2))
    is_float = header.element == "float32"
    code = decode_positions(table, 0, found.address, TABLES)
    code = code or decode_patterns(table, 0, is_float, patterns.address, TABLES)
    assert header.given_base or code != NEEDS_BASE
    rows = np.zeros(1, np.int64)
    wrong = decode_frames(table, rows, is_float, found.address, patterns.address, TABLES)
    assert wrong == (0 if code else -1)
    del memory
    if code:
        return "needs the base" if header.given_base else REASONS[code - 1]
    return found.array.view(np.uint32).copy(), patterns.array.view(header.dtype).copy()


def expected(frame):
    try:
        slow = slow_decode(frame)
    except Invalid as error:
        return error.reason
    except NeedsBase:
        return "needs the base"
    return np.array(slow.positions, np.uint32), np.array(slow.patterns, np.uint32)


def agree(found, wanted):
    if isinstance(found, str) or isinstance(wanted, str):
        assert found == wanted
    else:
        assert found[0].tobytes() == wanted[0].tobytes()
        assert found[1].tobytes() == wanted[1].tobytes()


def test_all_encodings_are_known():
    assert len(MASK_ENCODINGS) == len(MASK_DECODERS)
    assert len(VALUE_ENCODINGS) == len(VALUE_DECODERS)


@given(frames())
def test_frames_decode_alike(frame):
    agree(fused(frame), expected(frame))


@given(mutated_frames())
def test_damaged_frames_are_refused_alike(frame):
    agree(fused(frame), expected(frame))


@given(frames(40), st.data())
def test_random_sections_are_refused_alike(frame, data):
    start = data.draw(st.integers(HEADER_BYTES, len(frame)))
    frame = frame[:start] + data.draw(
        st.binary(min_size=len(frame) - start, max_size=len(frame) - start)
    )
    agree(fused(frame), expected(frame))


def gaps_of(*gaps, values=None):
    chunk = np.zeros(sum(gaps) + len(gaps), np.float32)
    chunk[np.cumsum(np.array(gaps) + 1) - 1] = 1
    return encode_frame(chunk, mask="gaps")


@given(st.lists(st.sampled_from([0, 1, 5, 23, 24, 25, 100, 5000]), min_size=1, max_size=40))
@example([0] * 4 + [5000])
@example([200_000])
def test_gaps_of_every_length(gaps):
    frame = gaps_of(*gaps)
    agree(fused(frame), expected(frame))


@pytest.mark.parametrize("values", ["sign", "table", "affine", "float16", "bfloat16", "raw"])
def test_no_value_is_read_behind_a_section_cut_short(values):
    frame = encode_frame(np.full(40_000, 0.5, np.float32), values=values)
    for length in (HEADER_BYTES, HEADER_BYTES + 4, HEADER_BYTES + 8, len(frame) - 1):
        agree(fused(frame[:length]), expected(frame[:length]))


@given(st.lists(frames(300), min_size=1, max_size=5))
def test_packed_frames_hold_the_same(several):
    tables, kept = [], []
    elements = {read_header(frame).element for frame in several}
    assume(len(elements) == 1)
    for frame in several:
        header, table, memory = table_of(frame)
        if header.nonzeros:
            tables.append(table)
            kept.append((frame, memory))
    assume(tables)
    table = np.concatenate(tables)
    is_float = elements == {"float32"}
    packed_into = Guarded(int(packed_limit(table).sum()))
    most = max(read_header(frame).nonzeros for frame, _ in kept)
    scratch = Guarded(4 * most)
    packed = table.copy()
    row, size = pack_frames(
        packed, 0, len(packed), is_float, packed_into.address, scratch.address, TABLES
    )
    assert row == -1
    assert 0 < size <= packed_into.array.size
    assert not any(MASK_ENCODINGS[mask] == "blocks" for mask in packed[:, MASK])
    ends = [packed[-1, VALUES_AT] + packed[-1, VALUE_BYTES] - int(packed_into.address)]
    assert ends[0] + TAIL_BYTES == size
    assert (packed[:, MASK_AT] + packed[:, MASK_BYTES] == packed[:, VALUES_AT]).all()
    for number, (frame, _) in enumerate(kept):
        positions, values = decode_sparse(frame)
        found, patterns = (Guarded(4 * len(positions)) for _ in range(2))
        rows = np.array([number])
        wrong = decode_frames(packed, rows, is_float, found.address, patterns.address, TABLES)
        assert wrong == -1
        assert found.array.tobytes() == positions.tobytes()
        assert patterns.array.tobytes() == values.tobytes()


@given(mutated_frames())
def test_packing_refuses_what_decoding_refuses(frame):
    try:
        header, table, memory = table_of(frame)
    except FrameError:
        return
    packed_into, scratch = Guarded(int(packed_limit(table).sum())), Guarded(4 * header.nonzeros)
    is_float = header.element == "float32"
    row, _ = pack_frames(table, 0, 1, is_float, packed_into.address, scratch.address, TABLES)
    assert (row == 0) == isinstance(expected(frame), str)
    del memory
