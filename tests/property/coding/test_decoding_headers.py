"""Headers read many at a time: the verdict and the numbers of ``read_header``."""

import struct

import numpy as np
from guarded import Guarded
from hypothesis import example, given
from hypothesis import strategies as st

from tvbank.coding import MASK_ENCODINGS, VALUE_ENCODINGS, read_header
from tvbank.coding.decoding.positions import decode_positions, run_tables_address
from tvbank.coding.decoding.table import FRAME_COLUMNS, MASK_AT, NONZEROS, VALUES_AT, read_headers
from tvbank.coding.encoding import bytes_of_bits
from tvbank.coding.faults import MASK_SECTION
from tvbank.coding.header import HEADER_BYTES
from tvbank.coding.masks import MASKS
from tvbank.errors import FrameError
from tvbank.testing import frames, mutated_frames

ENTRIES = 40


def fused(data, is_float, entries, bounds=None):
    """The rows of frames that lie one after the other, or None if one is refused."""
    bounds = bounds or [(0, len(data))]
    memory = Guarded(len(data), data)
    starts, stops = (np.array(each, np.int64) for each in zip(*bounds, strict=True))
    table = np.empty((len(bounds), FRAME_COLUMNS), np.int64)
    if not read_headers(memory.address, starts, stops, entries, is_float, table):
        return None
    if not all(fits(row, table) for row in range(len(table))):
        return None
    table[:, [MASK_AT, VALUES_AT]] -= int(memory.address)
    return table.tolist()


def fits(row, table):
    """Whether a mask section has a size that its encoding allows: that is left to the decoder.

    Whatever it reads beyond the guarded memory would kill the process, so no section is decoded
    whose size is right.
    """
    mask = MASKS[table[row, 0]]
    bits = mask.section_bits(int(table[row, 2]), int(table[row, 4]), int(table[row, 5]))
    if bits is None or bytes_of_bits(bits) == table[row, 7]:
        return True
    out = Guarded(4 * int(table[row, NONZEROS]))
    assert decode_positions(table, row, out.address, run_tables_address()) == MASK_SECTION
    return False


def expected(data, is_float, entries):
    try:
        header = read_header(data, entries)
    except FrameError:
        return None
    values_at = HEADER_BYTES + header.mask_bytes
    if (header.element == "float32") != is_float or values_at > len(data):
        return None
    return [
        MASK_ENCODINGS.index(header.mask), VALUE_ENCODINGS.index(header.values),
        header.mask_parameter, header.value_parameter, header.extent, header.nonzeros,
        HEADER_BYTES, header.mask_bytes, values_at, len(data) - values_at, 0, 0, 0,
    ]  # fmt: skip


def agree(data, is_float, entries):
    wanted = expected(data, is_float, entries)
    assert fused(data, is_float, entries) == (None if wanted is None else [wanted])


@given(mutated_frames(), st.booleans())
def test_headers_of_damaged_frames(frame, is_float):
    entries = struct.unpack_from("<I", frame, 8)[0] if len(frame) >= 12 else 1
    agree(frame, is_float, entries)
    agree(frame, is_float, 64)


def near(*numbers):
    return st.sampled_from(sorted({n + d for n in numbers for d in (-1, 0, 1) if n + d >= 0}))


@st.composite
def headers(draw):
    """Headers in which little is wrong, and as many bytes after them as they ask for."""
    mask, values = draw(st.integers(0, 9)), draw(st.integers(0, 8))
    extent = draw(st.integers(0, ENTRIES + 1))
    count = draw(st.sampled_from([0, 1, extent, extent // 2]))
    parameter = draw(near(0, 4, 6, 16, 24, 65534, 24 + 256 * 24, 256 * 25))
    try:
        row = MASKS[min(mask, 8)]
        size = bytes_of_bits(row.section_bits(parameter, extent, count) or 16)
    except (ValueError, OverflowError):
        size = 0
    size = max(0, min(size, 300) + draw(st.sampled_from([0, 0, 0, 1, -1])))
    fields = (
        draw(st.sampled_from([1, 1, 1, 0])), draw(st.sampled_from([0, 0, 1, 2])), mask, values,
        parameter, draw(near(0, 1, 8, 31, 256)), ENTRIES, extent, count, size,
    )  # fmt: skip
    return struct.pack("<4B2H4I", *fields) + bytes(draw(near(size)))


@given(headers(), st.booleans())
@example(b"", True)
@example(bytes(HEADER_BYTES - 1), True)
def test_headers_in_which_little_is_wrong(data, is_float):
    agree(data, is_float, ENTRIES)


@given(st.lists(frames(30), min_size=1, max_size=4), st.integers(0, 7))
def test_many_at_once(several, lead):
    data, bounds = bytes(lead), []
    for frame in several:
        bounds.append((len(data), len(data) + len(frame)))
        data += frame
    read = [read_header(frame) for frame in several]
    first = read[0]
    alike = all((h.element, h.entries) == (first.element, first.entries) for h in read)
    found = fused(data, first.element == "float32", first.entries, bounds)
    assert (found is not None) == alike
    if alike:
        for row, frame, (start, _) in zip(found, several, bounds, strict=True):
            wanted = expected(frame, first.element == "float32", first.entries)
            wanted[6], wanted[8] = wanted[6] + start, wanted[8] + start
            assert row == wanted
