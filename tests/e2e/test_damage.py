"""Any damage to any object is found by ``verify``, and never becomes a wrong number."""

from contextlib import suppress
from functools import cache

import banks
import numpy as np
import pytest

import tvbank
from tvbank.bank.making import remember_base
from tvbank.bank.verify import verify
from tvbank.errors import BankNotFoundError, CorruptionError, TvbankError
from tvbank.storage import MemoryStorage

BASE = {"a": np.linspace(-1, 1, 20, dtype=np.float32), "b": np.ones((3, 2), np.float16)}
TUNED = {
    "a": BASE["a"] + np.float32(0.3) * (np.arange(20) % 3).astype(np.float32),
    "b": BASE["b"] * np.float16(1.25),
}
for model in (BASE, TUNED):
    model["tied"] = model["b"]  # a further name of the same unit
METHODS = {"lossy": tvbank.TSwitch(drop=0.2), "exact": tvbank.Exact()}


def bank_of(method):
    bank = tvbank.create(MemoryStorage(), base=BASE, chunk_length=8)
    heads = {"head": np.arange(4, dtype=np.int16), "scale": np.array(0.5)}
    remember_base(bank.storage, "/somewhere/base.safetensors")
    bank.add("task", TUNED | heads, METHODS[method], {"labels": ["x"]})
    return bank


NOTE = "base/location/zarr.json"
REVISION = "tasks/task/R"
#: Every object of the exact task's bank; of the lossy one's, those that are of another kind.
PLACES = [
    *(
        ("exact", key)
        for key in (
            NOTE,
            "base/zarr.json",
            f"{REVISION}/delta/c/0",
            f"{REVISION}/delta/zarr.json",
            f"{REVISION}/extras/0/c/0",
            f"{REVISION}/extras/0/zarr.json",
            f"{REVISION}/extras/1/c",
            f"{REVISION}/extras/1/zarr.json",
            f"{REVISION}/extras/zarr.json",
            f"{REVISION}/zarr.json",
            "tasks/task/zarr.json",
            "tasks/zarr.json",
            "zarr.json",
        )
    ),
    ("lossy", f"{REVISION}/delta/c/0"),
    ("lossy", f"{REVISION}/delta/zarr.json"),
]


@cache
def bank(method):
    return bank_of(method)


@cache
def objects(method):
    return banks.contents(bank(method).storage)


@cache
def sound(method):
    return parts(bank(method).storage)


@cache
def touched(method):
    """The objects that reading asks for."""
    counting = banks.CountingStorage(bank(method).storage)
    parts(counting)
    return set(counting.keys)


def test_no_object_is_left_out():
    keys = {
        method: {key_of(method, kind) for m, kind in PLACES if m == method} for method in METHODS
    }
    assert keys["exact"] == set(objects("exact"))
    assert keys["lossy"] == {key for key in objects("lossy") if "/delta/" in key}


def parts(storage):
    """Everything that can be read, one by one; what refuses is left out."""
    read = {}

    def take(name, get):
        with suppress(TvbankError):
            read[name] = get()

    def unit(task, name):
        positions, values = task[name].to_sparse()
        return positions.tobytes(), values.tobytes(), values.dtype

    def extra(task, name):
        array = task.extras[name]
        return array.tobytes(), array.shape, array.dtype

    try:
        bank = tvbank.open(storage)
    except TvbankError:
        return read
    take("names", lambda: list(bank))
    for task in (bank["task"], bank["task"].by_shard()):
        for name in BASE:
            take(("unit", name), lambda task=task, name=name: unit(task, name))
        for name in ("head", "scale"):
            take(("extra", name), lambda task=task, name=name: extra(task, name))
        take("metadata", lambda task=task: task.metadata)
    return read


def check(method, key, data):
    """With these bytes in an object, or none: a fault is found and no number is wrong."""
    storage = banks.store(objects(method))
    storage.delete(key)
    if data is not None:
        storage.put(key, data)
    try:
        faults = verify(storage)
    except BankNotFoundError:
        assert key == "zarr.json"
    else:
        assert faults
        for fault in faults:
            assert fault.key
            assert "\n" not in fault.message
    if key in touched(method):  # what is not read cannot change what is
        for name, found in parts(storage).items():
            assert found == sound(method)[name]


def test_a_sound_bank_is_sound_and_all_is_read():
    for method in METHODS:
        read = sound(method)
        assert bank(method).verify() == []
        assert len(read) == 7
        assert read["unit", "tied"] == read["unit", "b"]
        assert read["extra", "head"][1:] == ((4,), np.int16)
        untouched = set(objects(method)) - touched(method)
        assert {key.rsplit("/", 1)[-1] for key in untouched} == {"zarr.json"}


def key_of(method, kind):
    return kind.replace("R", bank(method)["task"].revision)


@pytest.mark.parametrize(("method", "kind"), PLACES)
def test_every_flipped_bit_of_every_object(method, kind):
    key = key_of(method, kind)
    data = objects(method)[key]
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        check(method, key, bytes(flipped))


@pytest.mark.parametrize(("method", "kind"), PLACES)
def test_every_truncation_and_extension_of_every_object(method, kind):
    key = key_of(method, kind)
    data = objects(method)[key]
    lengths = {0, 1, 2, 3, 4, 5, 19, 20, 24, 28, len(data) // 2, *range(-25, 0)}
    for length in lengths:
        if len(data[:length]) < len(data):
            check(method, key, data[:length])
    blanks = () if kind == NOTE else (b" ", b"\n")  # the note's words are covered, not its bytes
    for tail in (b"\0", data, *blanks):
        check(method, key, data + tail)


@pytest.mark.parametrize(("method", "kind"), [place for place in PLACES if place[1] != NOTE])
def test_every_missing_object(method, kind):
    check(method, key_of(method, kind), None)


@pytest.mark.parametrize("method", METHODS)
def test_objects_in_each_others_place(method):
    for key, data in objects(method).items():
        for other, theirs in objects(method).items():
            if data != theirs and NOTE not in (key, other):
                check(method, key, theirs)


def test_an_older_catalog_is_not_taken_for_this_one():
    bank = tvbank.create(MemoryStorage(), base=BASE, chunk_length=8)
    bank.add("task", TUNED, tvbank.Exact())
    old = banks.contents(bank.storage)
    bank.add("task", BASE, tvbank.TSwitch(), replace=True)
    bank.gc(grace=0)
    mixed = banks.contents(bank.storage) | {"zarr.json": old["zarr.json"]}
    assert verify(banks.store(mixed))
    with pytest.raises(CorruptionError):
        tvbank.open(banks.store(mixed))["task"]["a"].to_dense()


class TestWhatIsSaid:
    """Of a damaged shard: task, unit and byte range; of one that is missing: task and key."""

    @pytest.fixture
    def bank(self):
        return tvbank.open(banks.store(objects("exact")))

    @pytest.fixture
    def shard(self, bank):
        return f"tasks/task/{bank['task'].revision}/delta/c/0"

    def damage(self, bank, shard, at):
        data = bytearray(bank.storage.get(shard))
        data[at] ^= 4
        bank.storage.put(shard, bytes(data))

    def test_of_a_flipped_bit(self, bank, shard):
        for name in bank.layout.by_name:
            frames = list(bank["task"].frames(name))
            for frame in frames:
                fresh = tvbank.open(banks.store(objects("exact")))
                stop = frame.start + len(frame.data) + 4
                for at in (frame.start, frame.start + len(frame.data) // 2, stop - 1):
                    self.damage(fresh, shard, at)
                    with pytest.raises(CorruptionError) as caught:
                        fresh["task"][name].to_dense()
                    error = caught.value
                    assert (error.task, error.unit, error.key) == ("task", name, shard)
                    assert error.start == frame.start
                    assert error.stop == stop
                    for word in ("'task'", repr(name), shard, f"bytes {frame.start} to {stop}"):
                        assert word in str(error)
                    faults = fresh.verify()
                    assert [(f.reason, f.task, f.unit, f.start) for f in faults] == [
                        ("object-digest", "task", None, 0),
                        ("frame-checksum", "task", name, frame.start),
                    ]
                    self.damage(fresh, shard, at)

    def test_of_a_flipped_bit_in_the_index(self, bank, shard):
        size = len(bank.storage.get(shard))
        self.damage(bank, shard, size - 9)
        with pytest.raises(CorruptionError, match=rf"'task'.*{shard}.* to {size}: .*index"):
            bank["task"]["a"].to_dense()
        reasons = [fault.reason for fault in bank.verify()]
        assert reasons == ["object-digest", "index-checksum"]

    def test_of_a_missing_shard(self, bank, shard):
        bank.storage.delete(shard)
        with pytest.raises(CorruptionError, match=rf"'task': {shard} is missing"):
            bank["task"]["a"].to_dense()
        assert [(f.reason, f.key) for f in bank.verify()] == [("object-missing", shard)]

    def test_of_a_truncated_shard(self, bank, shard):
        bank.storage.put(shard, bank.storage.get(shard)[:-1])
        with pytest.raises(CorruptionError, match=rf"'task'.*{shard}"):
            bank["task"]["a"].to_dense()
        assert bank.verify()[0].reason == "object-size"

    def test_of_everything_at_once(self, bank, shard):
        revision = bank["task"].revision
        bank.storage.delete("tasks/zarr.json")
        bank.storage.delete(f"tasks/task/{revision}/extras/0/zarr.json")
        self.damage(bank, shard, 0)
        found = {(fault.reason, fault.key.rsplit("/", 2)[-2]) for fault in bank.verify()}
        assert found == {
            ("marker", "tasks"), ("document-missing", "0"), ("object-digest", "c"),
            ("frame-checksum", "c"),
        }  # fmt: skip
