"""Whoever reads a whole shard checks its SHA-256, however the bank is stored and read."""

import hashlib

import banks
import numpy as np
import pytest
import servers
import torch

import tvbank
from tvbank.bank.shard import build_shard
from tvbank.bank.summary import inspect
from tvbank.errors import CorruptionError
from tvbank.storage import MemoryStorage

BASE = {"one.weight": np.zeros(8, np.float32), "two.weight": np.zeros(8, np.float32)}


def model():
    made = torch.nn.Module()
    for name in ("one", "two"):
        made.add_module(name, torch.nn.Module())
        getattr(made, name).weight = torch.nn.Parameter(torch.zeros(8))
    return made


def made(place, length=8, per_shard=None):
    """Two tasks that differ in their numbers, and not in the sizes of their shards."""
    bank = tvbank.create(place, BASE, chunk_length=length)
    for name, size in (("a", 0.5), ("b", 2.0)):
        bank.add(name, {key: value + np.float32(size) for key, value in BASE.items()}, SIGNS)
    return bank


SIGNS = tvbank.TSwitch(drop=0)


def shards(bank):
    return {name: f"tasks/{name}/{bank[name].revision}/delta/c/0" for name in "ab"}


def exchanged_folder(tmp_path):
    bank = made(tmp_path / "bank")
    first, second = (tmp_path / "bank" / key for key in shards(bank).values())
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    return tmp_path / "bank"


def exchanged_memory(tmp_path):
    bank = made(MemoryStorage())
    objects = banks.contents(bank.storage)
    one, other = shards(bank).values()
    return banks.store(objects | {one: objects[other], other: objects[one]})


def exchanged_zip(tmp_path):
    bank = made(MemoryStorage())
    tvbank.pack(bank.storage, tmp_path / "bank.zip")
    one, other = (bank.storage.get(key) for key in shards(bank).values())
    data = (tmp_path / "bank.zip").read_bytes()
    at, there = data.index(one), data.index(other)
    changed = bytearray(data)
    changed[at : at + len(one)], changed[there : there + len(other)] = other, one
    (tmp_path / "bank.zip").write_bytes(changed)
    return tmp_path / "bank.zip"


def exchanged_and_slow(tmp_path):
    """A store from which several shards are fetched at once."""
    storage = exchanged_memory(tmp_path)
    storage.parallel = 4
    return storage


PLACES = {
    "folder": exchanged_folder, "memory": exchanged_memory, "zip": exchanged_zip,
    "several at once": exchanged_and_slow,
}  # fmt: skip

READERS = {
    "dense": lambda bank, folder: bank["a"].to_dense(),
    "sparse": lambda bank, folder: bank["a"].to_sparse(),
    "a unit of the task by shard": lambda bank, folder: (
        bank["a"].by_shard()["one.weight"].to_dense()
    ),
    "a sparse unit of the task by shard": lambda bank, folder: (
        bank["a"].by_shard()["two.weight"].to_sparse()
    ),
    "frames by shard": lambda bank, folder: next(bank["a"].by_shard().frames("one.weight")),
    "all frames": lambda bank, folder: bank["a"].all_frames(),
    "inspect": lambda bank, folder: list(inspect(bank["a"])),
    "merge": lambda bank, folder: tvbank.merge(bank, {"a": 1.0, "b": 1.0}, base=BASE),
    "merge by Ties": lambda bank, folder: tvbank.merge(
        bank, {"a": 1.0, "b": 1.0}, base=BASE, method=tvbank.Ties()
    ),
    "export": lambda bank, folder: tvbank.export(
        bank, "a", base=BASE, out=folder / "out.safetensors"
    ),
    "switch": lambda bank, folder: tvbank.attach(model(), bank).to("a"),
    "switch to a sum": lambda bank, folder: tvbank.attach(model(), bank).to({"a": 0.5, "b": 0.5}),
    "prefetch": lambda bank, folder: tvbank.attach(model(), bank).prefetch("b"),
    "pack": lambda bank, folder: tvbank.pack(bank.storage, folder / "packed.zip"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("how", READERS)
def test_the_shard_of_another_task_is_refused(place, how, tmp_path):
    bank = tvbank.open(PLACES[place](tmp_path))
    with pytest.raises(CorruptionError, match=r"task '[ab]': tasks/.*SHA-256") as caught:
        READERS[how](bank, tmp_path)
    assert caught.value.reason == "object-digest"
    assert caught.value.key in shards(bank).values()
    assert not (tmp_path / "out.safetensors").exists()


def test_also_over_http(tmp_path):
    exchanged_folder(tmp_path)
    with servers.FileServer(tmp_path) as server:
        bank = tvbank.open(f"http://127.0.0.1:{server.port}/bank")
        with pytest.raises(CorruptionError) as caught:
            bank["a"].to_dense()
    assert caught.value.reason == "object-digest"


def test_a_model_is_as_it_was_after_the_refusal(tmp_path):
    bank = tvbank.open(exchanged_memory(tmp_path))
    switched = model()
    with pytest.raises(CorruptionError):
        tvbank.attach(switched, bank).to("a")
    assert all(not parameter.any() for parameter in switched.parameters())


@pytest.mark.parametrize("read", ["to_dense", "to_sparse", "all_frames"])
def test_the_digest_is_named_before_what_else_is_wrong(read):
    """Bytes that the digest refuses are not judged by what their decoder makes of them."""
    bank = made(MemoryStorage())
    key = shards(bank)["a"]
    sound = bank.storage.get(key)
    for broken in (bytes(len(sound)), build_broken(bank, sound)):
        bank.storage.put(key, broken)
        assert len(broken) == len(sound)
        with pytest.raises(CorruptionError) as caught:
            getattr(bank["a"], read)()
        assert caught.value.reason == "object-digest"
    bank.storage.put(key, sound)
    getattr(bank["a"], read)()


def build_broken(bank, sound):
    """A shard whose index and checksums are right, of frames that no decoder takes."""
    each = [(chunk, bytes([99]) + bank["a"].all_frames()[chunk].data[1:]) for chunk in range(2)]
    return build_shard(bank.layout.chunks_per_shard, each)


@pytest.mark.parametrize("read", ["to_dense", "to_sparse"])
def test_a_range_that_is_the_whole_shard_has_its_digest_too(read):
    """The only unit of a bank: the index and one range are all there is."""
    bank = tvbank.create(MemoryStorage(), {"w": np.zeros(8, np.float32)}, chunk_length=4)
    for name, size in (("a", 0.5), ("b", 2.0)):
        bank.add(name, {"w": np.full(8, size, np.float32)}, SIGNS)
    objects = banks.contents(bank.storage)
    one, other = shards(bank).values()
    sound, exchanged = banks.store(objects), banks.store(objects | {one: objects[other]})
    getattr(tvbank.open(sound)["a"]["w"], read)()
    with pytest.raises(CorruptionError) as caught:
        getattr(tvbank.open(exchanged)["a"]["w"], read)()
    assert caught.value.reason == "object-digest"


@pytest.mark.parametrize("how", ["dense", "sparse", "all frames", "merge"])
def test_each_shard_is_hashed_once_when_a_task_is_read(monkeypatch, how, tmp_path):
    bank = made(MemoryStorage(), length=1)
    data = bank.storage.get(shards(bank)["a"])
    hashed, sha256 = [], hashlib.sha256

    def counting(given=b"", **kwargs):
        hashed.append(bytes(given))
        return sha256(given, **kwargs)

    monkeypatch.setattr(hashlib, "sha256", counting)
    READERS[how](bank, tmp_path)
    assert hashed.count(data) == 1
