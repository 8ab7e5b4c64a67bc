"""Units kept whole: every element type and shape, chunk by chunk, and no memory for bombs."""

import struct

import banks
import numpy as np
import pytest
from numcodecs.zstd import Zstd

import tvbank
from spec.reference.extras import _decompress as reference
from spec.reference.invalid import Invalid
from tvbank.bank import zarr_documents
from tvbank.bank.documents import ExtraRecord
from tvbank.bank.extras import decompress
from tvbank.bank.zarr_documents import chunk_keys, chunk_shape
from tvbank.bank.zstd_header import content_size
from tvbank.dtypes import DTYPES
from tvbank.errors import CorruptionError, FormatError, UnitNotFoundError
from tvbank.storage import MemoryStorage

SHAPES = [(), (0,), (1,), (7,), (5, 3), (3, 0, 2), (0, 4), (1, 1, 1), (2, 3, 4, 5)]
BASE = {"w": np.zeros(3, np.float32)}


def filled(dtype, shape):
    """An array of that type and shape with arbitrary bits, NaN payloads among them."""
    element = DTYPES[dtype]
    size = int(np.prod(shape)) * element.itemsize
    raw = np.random.default_rng(7).integers(0, 2 if dtype == "bool" else 256, size, np.uint8)
    return raw.view(element).reshape(shape)


def bank_with(extras):
    bank = tvbank.create(MemoryStorage(), base=BASE)
    bank.add("task", BASE | extras, tvbank.Exact())
    return bank


def same(found, expected):
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_element_type_in_every_shape(dtype):
    arrays = {f"{dtype} {shape}": filled(dtype, shape) for shape in SHAPES}
    bank = bank_with(arrays)
    task = bank["task"]
    assert list(task.extras) == list(arrays)
    assert len(task.extras) == len(arrays)
    for name, array in arrays.items():
        assert name in task.extras
        assert same(task.extras[name], array)
        record = task.extras.record(name)
        assert (record.dtype, record.shape) == (dtype, array.shape)
    assert bank.verify() == []


@pytest.mark.parametrize("limit", [1, 12, 24, 25, 60, 10**6])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "bool", "complex64"])
def test_chunks_of_whole_rows(monkeypatch, limit, dtype):
    monkeypatch.setattr(zarr_documents, "EXTRA_CHUNK_BYTES", limit)
    array = filled(dtype, (7, 3, 2))
    bank = bank_with({"x": array})
    row = 6 * array.dtype.itemsize
    rows = max(1, min(7, limit // row))
    keys = [key for key in banks.contents(bank.storage) if "/extras/0/c/" in key]
    assert len(keys) == -(-7 // rows)
    assert same(bank["task"].extras["x"], array)
    assert bank.verify() == []


@pytest.mark.parametrize("limit", [1, 60])
def test_chunks_with_nothing_in_a_row(monkeypatch, limit):
    monkeypatch.setattr(zarr_documents, "EXTRA_CHUNK_BYTES", limit)
    array = filled("int16", (4, 0))
    bank = bank_with({"x": array})
    assert same(bank["task"].extras["x"], array)
    assert bank.verify() == []


def test_the_grid_follows_the_rule():
    def grid(*shape, dtype="float32"):
        record = ExtraRecord("x", dtype, shape)
        return chunk_shape(record), list(chunk_keys(record))

    assert grid() == ((), ["c"])
    assert grid(5) == ((5,), ["c/0"])
    assert grid(0) == ((1,), [])
    assert grid(0, 7) == ((1, 7), [])
    assert grid(7, 0) == ((7, 1), [])
    assert grid(2**26, dtype="uint8") == ((2**26,), ["c/0"])
    assert grid(2**26 + 1, dtype="uint8") == ((2**26,), ["c/0", "c/1"])
    assert grid(3, 2**24 + 1) == ((1, 2**24 + 1), ["c/0/0", "c/1/0", "c/2/0"])
    assert grid(3, 2**23, 1) == ((2, 2**23, 1), ["c/0/0/0", "c/1/0/0"])


def test_extras_are_read_one_by_one():
    bank = bank_with({"a": filled("float32", (4,)), "b": filled("float32", (4,))})
    counting = banks.CountingStorage(bank.storage)
    extras = tvbank.open(counting)["task"].extras
    counting.reset()
    extras.record("a")
    assert counting.calls == {}
    extras["a"]
    assert counting.calls == {"get": 1}


def test_a_buffer_is_kept_only_where_it_changed():
    base = BASE | {"mean": filled("float64", (3,)), "count": np.array(3)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("same", base, tvbank.Exact())
    bank.add("other", base | {"count": np.array(4)}, tvbank.Exact())
    bank.add("typed", base | {"count": np.array(3, np.int32)}, tvbank.Exact())
    assert list(bank["same"].extras) == []
    assert list(bank["other"].extras) == ["count"]
    assert bank["typed"].extras["count"].dtype == np.int32
    with pytest.raises(UnitNotFoundError):
        bank["same"].extras["mean"]


def replaced_chunk(bank, data):
    """The bank with other bytes in the only chunk of its only extra, and all digests put right."""
    objects = banks.contents(bank.storage)
    key = next(key for key in objects if key.endswith("/extras/0/c/0"))
    objects[key] = data
    record = banks.stored_record(data)
    grown = record["size"] - len(bank.storage.get(key))

    def revise(body):
        body["objects"]["extras/0/c/0"] = record

    def recount(body):
        body["tasks"]["task"]["stored_bytes"] += grown

    return tvbank.open(banks.store(banks.forge(objects, revision=revise, root=recount)))


RIGHT = filled("float32", (64,))


def compressed(size, byte=b"\0"):
    return bytes(Zstd(level=3, checksum=True).encode(byte * size))


def without_size(data):
    """A zstd frame of one raw block that does not state its size."""
    header = struct.pack("<I", 0xFD2FB528) + bytes([0b0000_0000, 0x58])
    block = (len(data) << 3 | 1).to_bytes(3, "little")
    return header + block + data


def framed(window=0, dictionary=0, flags=0, kind=0, last=1, tail=b""):
    """The right bytes in one raw block, under a header that is made by hand."""
    data = RIGHT.tobytes()
    flags |= 0b0100_0000 | bool(dictionary)
    head = struct.pack("<IBB", 0xFD2FB528, flags, window) + bytes([dictionary]) * (flags & 1)
    size = (len(data) - 256).to_bytes(2, "little")
    block = (len(data) << 3 | kind << 1 | last).to_bytes(3, "little")
    return head + size + block + data + tail


#: Bytes that every decoder leaves out.
SKIPPED = struct.pack("<II", 0x184D2A50, 4) + b"what"

WRONG = {
    "nothing": b"",
    "no zstd": b"these bytes are no zstd frame, whatever they are",
    "cut short": compressed(256, b"x")[:-6],
    "too few bytes": compressed(255),
    "too many bytes": compressed(257),
    "a bomb": compressed(2**28),
    "a bomb that hides its size": without_size(bytes(2**16)),
    "too few bytes that hide their size": without_size(bytes(255)),
    "bytes after the end": compressed(256) + b"\0",
    "an empty frame after the end": compressed(256) + compressed(0),
    "an empty frame before the beginning": compressed(0) + compressed(256),
    "a skippable frame after the end": compressed(256) + SKIPPED,
    "a skippable frame before the beginning": SKIPPED + compressed(256),
    "a window of gigabytes": framed(window=21 << 3),
    "a window beyond what is needed": framed(window=13 << 3 | 1),
    "the largest window": framed(window=0xFF),
    "a dictionary": framed(dictionary=7),
    "a reserved bit": framed(flags=0b1000),
    "a reserved kind of block": framed(kind=3),
    "a checksum that is not there": framed(flags=0b100),
    "a wrong checksum": framed(flags=0b100, tail=bytes(4)),
    "no last block": framed(last=0),
}

RIGHT_BUT_ODD = {
    "a window of 8 MiB": framed(window=13 << 3),
    "the smallest window": framed(window=0),
    "dictionary 0, which is none": framed(dictionary=0, flags=1),
    "a bit that nobody uses": framed(flags=0b10000),
}


@pytest.mark.parametrize("data", RIGHT_BUT_ODD.values(), ids=RIGHT_BUT_ODD)
def test_what_the_library_itself_would_not_write_is_read(data):
    bank = replaced_chunk(bank_with({"x": RIGHT}), data)
    assert same(bank["task"].extras["x"], RIGHT)
    assert bank.verify() == []
    assert reference(data, RIGHT.nbytes) == RIGHT.tobytes()


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_the_reference_refuses_the_same(data):
    with pytest.raises(Invalid) as caught:
        reference(data, RIGHT.nbytes)
    assert caught.value.reason == "extra"


@pytest.mark.parametrize("size", [2**23 + 1, 2**24])
def test_a_window_as_large_as_the_content_needs_is_taken(size):
    head = struct.pack("<IBBI", 0xFD2FB528, 0b1000_0000, 14 << 3, size)
    empty = (1).to_bytes(3, "little")
    assert content_size(head + empty) == size
    for window in (14 << 3 | 1, 15 << 3):
        with pytest.raises(FormatError, match="window"):
            content_size(head[:5] + bytes([window]) + head[6:] + empty)


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_what_does_not_decode_to_the_shape_is_refused(data):
    bank = replaced_chunk(bank_with({"x": RIGHT}), data)
    with pytest.raises(CorruptionError, match="task 'task', extra 'x'") as caught:
        bank["task"].extras["x"]
    assert caught.value.reason == "extra"
    assert [fault.reason for fault in bank.verify()] == ["extra"]


def test_other_levels_and_no_checksum_are_taken():
    for codec in (Zstd(level=19), Zstd(level=-5), Zstd(level=0, checksum=True)):
        bank = replaced_chunk(bank_with({"x": RIGHT}), bytes(codec.encode(RIGHT.tobytes())))
        assert same(bank["task"].extras["x"], RIGHT)


def test_a_flipped_chunk_says_where():
    bank = bank_with({"x": RIGHT})
    key = next(key for key in banks.contents(bank.storage) if key.endswith("/extras/0/c/0"))
    data = bytearray(bank.storage.get(key))
    data[20] ^= 1
    bank.storage.put(key, bytes(data))
    with pytest.raises(CorruptionError, match=rf"'task'.*{key} \(bytes 0 to {len(data)}\)"):
        bank["task"].extras["x"]


def test_a_missing_chunk_says_which():
    bank = bank_with({"x": RIGHT})
    key = next(key for key in banks.contents(bank.storage) if key.endswith("/extras/0/c/0"))
    bank.storage.delete(key)
    with pytest.raises(CorruptionError, match=rf"'task': {key} is missing"):
        bank["task"].extras["x"]


@pytest.mark.parametrize("stated", [2**31 - 1, 10**9, 10**6])
def test_a_bomb_that_states_its_size_finds_no_room(monkeypatch, stated):
    def refuse(*_arguments):
        raise AssertionError("memory was allocated")

    monkeypatch.setattr("tvbank.bank.extras.np.empty", refuse)
    header = struct.pack("<IB", 0xFD2FB528, 0b1110_0000) + struct.pack("<Q", stated)
    one_byte_repeated = (2**17 << 3 | 0b11).to_bytes(3, "little") + b"\0"
    with pytest.raises(FormatError) as caught:
        decompress(header + one_byte_repeated, stated)
    assert caught.value.reason == "extra"


def test_an_array_beyond_its_bytes_allocates_nothing():
    bank = bank_with({"x": RIGHT})

    def revise(body):
        body["extras"][0]["shape"] = [2**45]

    forged = banks.forge(banks.contents(bank.storage), revision=revise)
    with pytest.raises(FormatError) as caught:
        tvbank.open(banks.store(forged))["task"].extras["x"]
    assert caught.value.reason == "extra"
