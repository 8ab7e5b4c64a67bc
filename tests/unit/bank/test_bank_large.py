"""Units beyond 2**31 and 2**32 entries: every offset and count is right, nothing is unrolled."""

import hashlib

import numpy as np
import pytest

import tvbank
from tvbank.bank.documents import CatalogEntry, ObjectRecord, decode_layout, encode_document
from tvbank.bank.shard import build_shard
from tvbank.bank.task import Task
from tvbank.bank.zarr_documents import delta_document
from tvbank.coding import encode_frame
from tvbank.compress.lossy import Difference
from tvbank.errors import CorruptionError, NonFiniteError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import MemoryStorage

CHUNK = 2**20
PER_SHARD = 2**10
#: Entries of the large unit: 4097 chunks, the last of them with 7 entries only.
LARGE = 2**32 + 7
DIGEST = "0" * 64
REVISION = "1" * 64


def shard_of(frames):
    return build_shard(PER_SHARD, sorted(frames.items()))


def chunk_of(values):
    """A frame of a chunk with some values at some places."""
    chunk = np.zeros(CHUNK, np.float32)
    for place, value in values.items():
        chunk[place] = value
    return encode_frame(chunk)


@pytest.fixture(scope="module")
def layout():
    """A small unit, one of more than 2**32 entries, and another small one after it."""
    units, offset = [], 0
    for name, shape in (("first", (3,)), ("large", (LARGE,)), ("last", (5,))):
        units.append(UnitRecord(name, "float32", shape, offset, DIGEST))
        offset += -(-units[-1].size // CHUNK) * CHUNK
    made = Layout(CHUNK, CHUNK * PER_SHARD, offset, tuple(units), (), {})
    made.check()
    return made


def task_of(layout, frames):
    """A task with these frames by chunk, in memory."""
    storage = MemoryStorage()
    shards: list[ObjectRecord | None] = []
    for number in range(layout.shard_count):
        first = number * PER_SHARD
        inside = {c - first: f for c, f in frames.items() if first <= c < first + PER_SHARD}
        data = shard_of(inside)
        if data is None:
            shards.append(None)
            continue
        storage.put(f"tasks/task/{REVISION}/delta/c/{number}", data)
        shards.append(ObjectRecord(len(data), hashlib.sha256(data).hexdigest()))
    entry = CatalogEntry(
        revision=REVISION, size=1, element="float32", shards=tuple(shards), nonzeros=3,
        parameters=LARGE, stored_bytes=1, replaced=(), compressor={},
    )  # fmt: skip
    return Task(storage, layout, "task", entry)


def test_the_layout_of_a_large_unit_comes_back_from_its_document(layout):
    large, last = layout.by_name["large"], layout.by_name["last"]
    assert (large.size, large.offset) == (LARGE, CHUNK)
    assert layout.chunks(large) == range(1, 4098)
    assert last.offset == 4098 * CHUNK
    assert layout.length == 4099 * CHUNK
    assert layout.shard_count == 5
    assert decode_layout(encode_document(layout)) == layout
    assert b'"shape":[4298113024]' in delta_document(layout, "float32")


def test_entries_lie_where_they_were_put(layout):
    large = layout.by_name["large"]
    frames = {
        1: chunk_of({5: 1.0}),
        layout.chunks(large)[2**31 // CHUNK]: chunk_of({9: 2.0}),
        layout.chunks(large)[-1]: chunk_of({6: -3.0}),
        4098: chunk_of({4: 4.0}),
    }
    task = task_of(layout, frames)
    for found in (task["large"].to_sparse(), task.to_sparse()["large"]):
        positions, values = found
        assert positions.dtype == np.int64
        assert positions.tolist() == [5, 2**31 + 9, 2**32 + 6]
        assert values.tolist() == [1.0, 2.0, -3.0]
    assert task["first"].to_sparse()[0].size == 0
    assert task["last"].to_dense().tolist() == [0, 0, 0, 0, 4.0]


def test_an_entry_just_behind_the_large_unit_is_refused(layout):
    task = task_of(layout, {4097: chunk_of({7: 1.0})})
    with pytest.raises(CorruptionError) as caught:
        task["large"].to_sparse()
    assert (caught.value.reason, caught.value.unit) == ("address", "large")


def test_the_largest_layout_keeps_its_sums():
    half = 2**47
    units = tuple(UnitRecord(f"u{k}", "bfloat16", (half,), k * half, DIGEST) for k in (0, 1))
    made = Layout(2**24, 2**40, 2**48, units, (), {})
    made.check()
    assert made.parameters == 2**48
    assert made.chunks(units[1]) == range(2**23, 2**24)
    assert decode_layout(encode_document(made)) == made


def test_entries_of_a_large_unit_are_made_from_anywhere():
    base = np.broadcast_to(np.float32(1), (LARGE,))
    tuned = np.broadcast_to(np.nextafter(np.float32(1), np.float32(2)), (LARGE,))
    steps = tvbank.Exact().prepare("large", base, tuned)
    assert steps(2**32 - 2, LARGE).tolist() == [1] * 9
    delta = Difference("large", base, tuned)
    assert delta.size == LARGE
    assert (delta.block(2**32, 2**32 + 4) == np.float32(2**-23)).all()


def test_a_fault_far_into_a_large_unit_is_named_by_its_position():
    base = np.broadcast_to(np.float32(0), (LARGE,))
    tuned = np.broadcast_to(np.float32(np.nan), (LARGE,))
    with pytest.raises(NonFiniteError, match=str(2**32 + 1)):
        Difference("large", base, tuned).block(2**32 + 1, 2**32 + 3)
