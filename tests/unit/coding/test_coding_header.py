"""Headers are read without numba and without what follows them."""

import subprocess
import sys

import numpy as np
import pytest

from tvbank.coding import (
    HEADER_BYTES,
    MASK_ENCODINGS,
    MAX_ENTRIES,
    VALUE_ENCODINGS,
    FrameHeader,
    read_header,
)
from tvbank.coding.masks import MASKS
from tvbank.coding.values import VALUES
from tvbank.errors import UsageError

HEADER = FrameHeader(
    element="float32",
    mask="gaps",
    values="sign",
    mask_parameter=3,
    value_parameter=0,
    entries=64,
    extent=40,
    nonzeros=3,
    mask_bytes=2,
)
WRITTEN = bytes.fromhex("01 00 06 01 0300 0000 40000000 28000000 03000000 02000000")


def test_a_header_is_these_24_bytes():
    assert len(WRITTEN) == HEADER_BYTES
    assert HEADER.to_bytes() == WRITTEN
    assert read_header(WRITTEN) == HEADER
    assert read_header(WRITTEN + b"what follows is not read") == HEADER
    assert HEADER.value_bytes == 5
    assert HEADER.dtype == np.float32


def test_names_and_ids_agree_with_the_encodings():
    for names, encodings in ((MASK_ENCODINGS, MASKS), (VALUE_ENCODINGS, VALUES)):
        assert [encoding.name for encoding in encodings] == list(names)
        assert [encoding.id for encoding in encodings] == list(range(len(names)))


def test_reading_headers_imports_no_numba():
    script = (
        "import sys; from tvbank.coding import read_header, MAX_ENTRIES\n"
        f"assert read_header({WRITTEN!r}).mask == 'gaps'\n"
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_every_public_name_resolves_and_others_do_not():
    import tvbank.coding

    for name in ("REASONS", "FrameSizes", "decode_frame", "decode_sparse", "encode_frame"):
        assert getattr(tvbank.coding, name) is not None
    assert MAX_ENTRIES == 2**24
    with pytest.raises(AttributeError, match="no attribute 'decode'"):
        _ = tvbank.coding.decode


@pytest.mark.parametrize("buffer", ["text", 7, None, memoryview(bytes(48))[::2]])
def test_what_is_no_buffer_of_bytes_is_a_usage_error(buffer):
    with pytest.raises(UsageError, match="contiguous buffer"):
        read_header(buffer)
