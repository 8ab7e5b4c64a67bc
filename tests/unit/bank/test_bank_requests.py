"""What reading costs: requests and bytes, never a listing."""

from pathlib import Path

import banks
import numpy as np
import pytest
from safetensors.numpy import save_file

import tvbank
from tvbank.bank.summary import inspect
from tvbank.storage import MemoryStorage

#: One unit fills several shards, others share one.
BASE = {
    "a": np.zeros(40, np.float32),
    "wide": np.zeros((30, 100), np.float32),
    "b": np.zeros((20, 3), np.float16),
    "c": np.zeros(7, np.float32),
}


@pytest.fixture(scope="module")
def counting():
    """A bank of 13 shards of a few hundred chunks, whose store counts."""
    storage = banks.CountingStorage(MemoryStorage())
    bank = tvbank.create(storage, base=BASE, chunk_length=1)
    rng = np.random.default_rng(3)
    tuned = {k: rng.standard_normal(v.shape).astype(v.dtype) for k, v in BASE.items()}
    bank.add("t", tuned | {"head": np.ones(3, np.float32)}, tvbank.Exact())
    bank.add("z", BASE, tvbank.Exact())
    assert bank.layout.shard_count > 10
    return storage


@pytest.fixture
def opened(counting):
    counting.reset()
    return tvbank.open(counting)


def unit_bytes(bank, task, name):
    frames = bank[task].frames(name)
    return sum(len(frame.data) + 4 for frame in frames)


def test_opening_takes_two_requests(counting, opened):
    assert counting.calls == {"get": 2}
    assert set(counting.keys) == {"zarr.json", "base/zarr.json"}


def test_looking_at_the_catalog_takes_none(counting, opened):
    counting.reset()
    task = opened["t"]
    facts = (list(opened), len(opened), "t" in opened, list(task), len(task), task["a"].shape)
    more = (task.revision, task.element, task.compressor, task.nonzeros, task.stored_bytes)
    assert all(value is not None for value in (*facts, *more, task.bits_per_parameter, repr(task)))
    assert counting.calls == {}


@pytest.mark.parametrize("name", BASE)
def test_one_unit_takes_two_requests_a_shard_and_little_beside_its_own_bytes(
    counting, opened, name
):
    own = unit_bytes(opened, "t", name)
    task = opened["t"]
    counting.reset()
    dense = task[name].to_dense()
    assert dense.shape == BASE[name].shape
    shards = {key for key in counting.keys if "/delta/c/" in key}
    assert shards == set(counting.keys)
    assert counting.calls == {"get": 2 * len(shards)}
    assert counting.bytes - own < 64 * 1024 * len(shards)
    if name != "wide":
        assert len(shards) <= 2


def test_a_unit_within_one_shard_takes_two_requests(counting, opened):
    counting.reset()
    opened["t"]["a"].to_sparse()
    assert counting.calls == {"get": 2}


def test_the_index_of_a_shard_is_read_once(counting, opened):
    task = opened["t"]
    task["a"].to_sparse()
    counting.reset()
    task["a"].to_sparse()
    assert counting.calls == {"get": 1}


def test_what_is_zero_takes_none(counting, opened):
    counting.reset()
    assert not opened["z"]["wide"].to_dense().any()
    assert counting.calls == {}


WHOLE = {
    "unit by unit": lambda task: [unit.to_dense() for unit in task.by_shard().values()],
    "dense": lambda task: task.to_dense(),
    "sparse": lambda task: task.to_sparse(),
}


@pytest.mark.parametrize("how", WHOLE)
def test_a_whole_task_takes_one_request_a_shard(counting, opened, how):
    counting.reset()
    WHOLE[how](opened["t"])
    assert counting.calls == {"get": opened.layout.shard_count}
    assert set(counting.keys.values()) == {1}


def test_showing_a_task_takes_one_request_a_shard(counting, opened):
    counting.reset()
    summaries = list(inspect(opened["t"]))
    assert [summary.name for summary in summaries] == list(BASE)
    assert counting.calls == {"get": opened.layout.shard_count}


def test_an_extra_takes_the_revision_and_its_chunks(counting, opened):
    counting.reset()
    task = opened["t"]
    assert task.extras["head"].sum() == 3
    assert counting.calls == {"get": 2}
    assert task.metadata == {}
    assert counting.calls == {"get": 2}


def test_reading_never_lists_or_writes(counting, opened, tmp_path):
    banks.all_numbers(opened)
    tvbank.merge(opened, {"t": 0.5, "z": 1.0}, base=BASE)
    tvbank.export(opened, "t", base=BASE, out=tmp_path / "out.safetensors")
    assert opened.verify() == []
    assert set(counting.calls) == {"get"}


def test_exporting_takes_one_request_a_shard_for_each_width_of_its_elements(
    counting, opened, tmp_path
):
    counting.reset()
    tvbank.export(opened, "t", base=BASE, out=Path(tmp_path / "out.safetensors"))
    shards = {key: count for key, count in counting.keys.items() if "/delta/c/" in key}
    assert len(shards) == opened.layout.shard_count
    assert max(shards.values()) <= 2  # a shard of float32 and float16 is met twice
    assert sum(shards.values()) <= opened.layout.shard_count + 2


def test_adding_publishes_with_one_write_of_the_catalog(counting):
    bank = tvbank.open(counting)
    counting.reset()
    bank.add("t2", BASE, tvbank.Exact(), base=BASE)
    assert counting.keys["zarr.json"] <= 4
    assert counting.calls["list"] == 1  # that all of the revision is there, before it is named
    assert counting.keys[f"tasks/t2/{bank['t2'].revision}/"] == 1
    bank.remove("t2")


def test_the_tempting_mistake_of_a_key_per_unit(tmp_path):
    save_file(BASE, tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", base=tmp_path / "base.safetensors")
    bank.add("t", {k: v + v.dtype.type(1) for k, v in BASE.items()}, tvbank.Exact())
    assert len([key for key in banks.contents(bank.storage) if "/delta/c/" in key]) == 1


def test_adding_reads_the_catalog_once_before_it_is_replaced_and_once_after():
    storage = banks.CountingStorage(banks.small_bank().storage)
    bank = tvbank.open(storage)
    storage.reset()
    bank.add("new", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    assert storage.calls["get"] == 2
    assert storage.keys["zarr.json"] == 3  # once read, once replaced, once read back
    assert set(tvbank.open(storage)) == {"lossy", "exact", "new"}


def test_a_name_that_was_freed_since_the_bank_was_opened_can_be_added():
    storage = banks.small_bank().storage
    bank = tvbank.open(storage)
    tvbank.open(storage).remove("lossy")
    bank.add("lossy", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model())
    assert bank["lossy"].compressor == {"name": "exact"}
