"""The codec in numcodecs: by itself, and as the compressor of zarr v2 arrays in either order."""

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from zarr.storage import MemoryStore

from tvbank.bank.numcodecs_codec import Sass
from tvbank.coding import encode_frame
from tvbank.errors import FrameError, UsageError
from tvbank.testing import chunks


@given(chunks(largest=300))
def test_every_bit_comes_back(chunk):
    codec = Sass()
    frame = codec.encode(chunk)
    assert frame == encode_frame(chunk)
    assert codec.decode(frame).tobytes() == chunk.tobytes()
    out = np.empty_like(chunk)
    assert codec.decode(frame, out) is out
    assert out.tobytes() == chunk.tobytes()
    other = bytearray(chunk.nbytes)
    codec.decode(frame, other)
    assert bytes(other) == chunk.tobytes()


def test_numcodecs_finds_the_codec_by_its_name():
    codec = numcodecs.get_codec({"id": "tvbank.sass"})
    assert isinstance(codec, Sass)
    assert codec == Sass()
    assert codec.get_config() == {"id": "tvbank.sass"}


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_zarr_v2_arrays_in_either_order(order, dtype):
    numbers = np.arange(-600, 600).reshape(20, 60).astype(dtype)
    array = zarr.create_array(
        MemoryStore(),
        shape=numbers.shape,
        chunks=(7, 16),
        dtype=dtype,
        compressors=[Sass()],
        order=order,
        fill_value=0,
        zarr_format=2,
    )
    array[:] = numbers
    assert np.array_equal(array[:], numbers)


def test_what_frames_cannot_hold_is_refused():
    with pytest.raises(UsageError, match="stores float32 and int32, not float64"):
        Sass().encode(np.zeros(3))
    with pytest.raises(UsageError, match="1 to 16777216"):
        Sass().encode(np.zeros(0, np.float32))
    with pytest.raises(FrameError, match="frame-truncated"):
        Sass().decode(b"")
    with pytest.raises(FrameError, match="frame-version"):
        Sass().decode(bytes(24))
