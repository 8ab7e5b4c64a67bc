"""Adding: what is refused leaves nothing behind, and what changed meanwhile is noticed."""

import banks
import numpy as np
import pytest

import tvbank
from tvbank.compress import Compressor
from tvbank.errors import (
    BankExistsError,
    CheckpointError,
    NonFiniteError,
    TaskExistsError,
    UnitMismatchError,
    UsageError,
)
from tvbank.storage import MemoryStorage

BASE = banks.base_model()


class Meanwhile(Compressor):
    """As ``Exact``, but something else happens while it compresses the first unit."""

    element = "int32"

    def __init__(self, happens):
        self.happens = happens

    def describe(self):
        return {"name": "meanwhile"}

    def accepts(self, base, tuned):
        return tvbank.Exact().accepts(base, tuned)

    def prepare(self, *arguments):
        happens, self.happens = self.happens, lambda: None
        happens()
        return tvbank.Exact().prepare(*arguments)


@pytest.fixture
def bank():
    return banks.small_bank()


def test_a_name_that_is_taken_while_compressing(bank):
    other = tvbank.open(bank.storage)

    def take_the_name():
        other.add("new", banks.fine_tune(5), tvbank.Exact(), base=BASE)

    with pytest.raises(TaskExistsError, match="'new'"):
        bank.add("new", banks.fine_tune(6), Meanwhile(take_the_name))
    assert tvbank.open(bank.storage)["new"].revision == other["new"].revision
    assert bank.gc(grace=0).objects == 0


def test_a_name_that_becomes_free_while_the_bank_is_open(bank):
    tvbank.open(bank.storage).remove("lossy")
    bank.add("lossy", banks.fine_tune(6), tvbank.Exact())
    assert bank["lossy"].compressor == {"name": "exact"}


def test_other_tasks_that_come_and_go_while_compressing(bank):
    other = tvbank.open(bank.storage)

    def change():
        other.remove("lossy")
        other.add("other", banks.fine_tune(5), base=BASE)

    bank.add("new", banks.fine_tune(6), Meanwhile(change))
    assert list(bank) == ["exact", "new", "other"]
    assert bank.generation == 5


REFUSED = {
    "a unit is missing": (lambda tuned: tuned.pop("half"), UnitMismatchError, "'half'"),
    "another shape": (
        lambda tuned: tuned.update(half=np.zeros(3, np.float16)), UnitMismatchError, "'half'",
    ),
    "untied": (
        lambda tuned: tuned.update({"head again": np.zeros((3, 5), np.float32)}),
        UnitMismatchError, "'head again'",
    ),
    "NaN": (
        lambda tuned: tuned.update(brain=tuned["brain"] * np.nan), NonFiniteError, "'brain'",
    ),
    "a name with a control character": (
        lambda tuned: tuned.update({"\a": np.zeros(1)}), CheckpointError, r"'\\x07'",
    ),
    "a name that is too long": (
        lambda tuned: tuned.update({"é" * 513: np.zeros(1)}), CheckpointError, "1024 bytes",
    ),
    "a name that is no text": (
        lambda tuned: tuned.update({"\ud800": np.zeros(1)}), CheckpointError, "UTF-8",
    ),
    "too many dimensions": (
        lambda tuned: tuned.update(x=np.zeros((1,) * 33)), CheckpointError, "32 dimensions",
    ),
    "no tensor": (lambda tuned: tuned.update(x="text"), CheckpointError, "'x'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_fine_tunes_that_are_refused(bank, kind):
    change, error, word = REFUSED[kind]
    tuned = banks.fine_tune()
    change(tuned)
    before = banks.contents(bank.storage)
    with pytest.raises(error, match=word) as caught:
        bank.add("new", tuned, tvbank.TSwitch())
    assert "\n" not in str(caught.value)
    assert banks.contents(bank.storage) == before


METADATA = {
    "a list": [1],
    "text": "labels",
    "a set": {"x": {1, 2}},
    "NaN": {"x": float("nan")},
    "infinity": {"x": [float("inf")]},
    "a tuple": {"x": (1, 2)},
    "bytes": {"x": b"x"},
    "an object": {"x": object()},
    "an array": {"x": np.zeros(2)},
    "a number as a key": {1: 2},
    "half a character": {"x": "\ud800"},
    "half a character as a key": {"\ud800": 1},
    "an endless number": {"x": 10**400},
    "a number that other readers would round": {"x": [{"y": -(2**53) - 1}]},
    "too much": {"x": "y" * 2**20},
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_that_json_does_not_hold(bank, kind):
    before = banks.contents(bank.storage)
    with pytest.raises(UsageError, match="metadata"):
        bank.add("new", banks.fine_tune(), metadata=METADATA[kind])
    assert banks.contents(bank.storage) == before


@pytest.mark.parametrize(
    ("depth", "taken"), [(31, True), (32, False), (1000, False), (10**5, False)]
)
def test_metadata_are_nested_only_so_deep(bank, depth, taken):
    nested = {}
    for _ in range(depth):
        nested = {"x": nested}
    if taken:
        assert bank.add("new", banks.fine_tune(), metadata=nested).metadata == nested
        return
    with pytest.raises(UsageError, match="metadata"):
        bank.add("new", banks.fine_tune(), metadata=nested)


def test_metadata_come_back_as_they_were_given(bank):
    metadata = {
        "z": [1, -0.0, 1.0, 1e308, 5e-324, 2**53, -(2**53), None, True, False, "", "é\n\0☃𝄞"],
        "a": {"b": {}, "": []},
    }
    found = bank.add("new", banks.fine_tune(), metadata=metadata).metadata
    assert repr(found["z"]) == repr(metadata["z"])
    assert found["a"] == metadata["a"]
    assert tvbank.open(bank.storage)["new"].metadata == metadata
    assert bank.verify() == []


@pytest.mark.parametrize("length", [0, -1, 2**24 + 1])
def test_chunk_lengths_out_of_range(length):
    with pytest.raises(UsageError, match="chunk_length"):
        tvbank.create(MemoryStorage(), base=BASE, chunk_length=length)


@pytest.mark.parametrize("length", [np.int64(8), True])
def test_chunk_lengths_of_other_kinds_of_integers(length):
    storage = MemoryStorage()
    tvbank.create(storage, base=BASE, chunk_length=length)
    assert tvbank.open(storage).layout.chunk_length == length
    assert tvbank.open(storage).verify() == []


def test_a_bank_is_not_created_over_another(bank):
    before = banks.contents(bank.storage)
    with pytest.raises(BankExistsError, match="already holds a bank"):
        tvbank.create(bank.storage, base=BASE)
    assert banks.contents(bank.storage) == before


def test_a_bank_is_not_created_among_other_files():
    storage = MemoryStorage()
    storage.put("notes.txt", b"precious")
    with pytest.raises(BankExistsError, match=r"not empty .*notes\.txt"):
        tvbank.create(storage, base=BASE)
    assert banks.contents(storage) == {"notes.txt": b"precious"}


def test_a_base_without_tensors_is_refused():
    storage = MemoryStorage()
    with pytest.raises(CheckpointError, match="no tensors"):
        tvbank.create(storage, base={})
    assert banks.contents(storage) == {}


def test_progress_ends_at_the_whole():
    seen = []

    def progress(done, total):
        seen.append((done, total))

    bank = tvbank.create(MemoryStorage(), base=BASE, progress=progress)
    assert seen[-1][0] == seen[-1][1] > 0
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    seen.clear()
    bank.add("t", banks.fine_tune(), tvbank.Exact(), progress=progress)
    assert seen[-1][0] == seen[-1][1] > 0
    seen.clear()
    bank.verify(progress)
    assert seen[-1] == (bank["t"].stored_bytes,) * 2
