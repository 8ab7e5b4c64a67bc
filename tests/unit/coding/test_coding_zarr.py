"""The codec in zarr arrays: plain, sharded with checksums, of any shape, found by its name."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec
from zarr.registry import get_codec_class
from zarr.storage import MemoryStore

from tvbank.bank.zarr_codec import SassCodec
from tvbank.errors import FrameError, UsageError
from tvbank.testing import chunks


def create(shape, chunk_shape, dtype, store=None, **options):
    return zarr.create_array(
        MemoryStore() if store is None else store,
        shape=shape,
        chunks=chunk_shape,
        dtype=dtype,
        fill_value=0,
        zarr_format=3,
        **{"serializer": SassCodec(), "compressors": None, "filters": None} | options,
    )


def sharded(shape, inner, outer, dtype, store):
    codec = ShardingCodec(
        chunk_shape=inner,
        codecs=[SassCodec(), Crc32cCodec()],
        index_codecs=[BytesCodec(endian="little"), Crc32cCodec()],
    )
    return create(shape, outer, dtype, store, serializer=codec)


@settings(max_examples=30)
@given(chunks(largest=700))
def test_a_sharded_array_gives_back_every_bit(chunk):
    # What equals the fill value is not stored, and to zarr -0.0 equals 0.
    chunk[chunk == 0] = 0
    store = MemoryStore()
    sharded(chunk.shape, (64,), (256,), chunk.dtype, store)[:] = chunk
    array = zarr.open_array(store, zarr_format=3, mode="r")
    assert array.dtype == chunk.dtype
    assert array[:].tobytes() == chunk.tobytes()
    assert array[30:300:7].tobytes() == chunk[30:300:7].tobytes()


def test_zarr_finds_the_codec_by_its_name():
    assert get_codec_class("tvbank.sass") is SassCodec
    for named in ({"name": "tvbank.sass"}, {"name": "tvbank.sass", "configuration": {}}):
        assert SassCodec.from_dict(named) == SassCodec()
    assert SassCodec().to_dict() == {"name": "tvbank.sass", "configuration": {}}
    with pytest.raises(UsageError, match="takes no configuration"):
        SassCodec.from_dict({"name": "tvbank.sass", "configuration": {"slack": 1}})
    with pytest.raises(NotImplementedError):
        SassCodec().compute_encoded_size(4, None)


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<i4", ">i4"])
def test_chunks_of_any_shape_and_byte_order(dtype):
    numbers = np.arange(-600, 600).reshape(20, 60).astype(dtype)
    array = create((20, 60), (7, 16), dtype)
    array[:] = numbers
    assert np.array_equal(array[:], numbers)
    array = create((), (), dtype)
    array[...] = 7
    assert array[()] == 7


@pytest.mark.parametrize("dtype", ["float64", "float16", "int64", "uint32", "bool"])
def test_other_element_types_are_refused_by_name(dtype):
    with pytest.raises(UsageError, match=f"stores float32 and int32, not {dtype}"):
        create((4,), (4,), dtype)


def test_chunks_that_no_frame_can_hold_are_refused():
    with pytest.raises(UsageError, match="at most 16777216 entries"):
        create((1 << 25,), (1 << 25,), "float32")


def test_a_damaged_chunk_is_refused():
    store = MemoryStore()
    array = create((8,), (8,), "float32", store)
    array[:] = np.arange(8)
    for damage in (b"", bytes(30)):
        store._store_dict["c/0"] = type(store._store_dict["c/0"]).from_bytes(damage)
        with pytest.raises(FrameError, match="invalid frame"):
            array[:]


def test_a_frame_of_another_element_type_or_length_is_refused():
    store = MemoryStore()
    array = create((8,), (8,), "float32", store)
    for length, dtype, message in (
        (8, "int32", "int32 in an array of float32"),
        (9, "float32", "9 entries where 8 belong"),
    ):
        other = MemoryStore()
        create((length,), (length,), dtype, other)[:] = np.arange(length)
        store._store_dict["c/0"] = other._store_dict["c/0"]
        with pytest.raises(FrameError, match=message):
            array[:]
