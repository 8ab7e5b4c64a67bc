"""Copying between stores: the same objects, each task whole, what is damaged or alien refused."""

import os

import banks
import numpy as np
import pytest

import tvbank
from tvbank.errors import (
    BankExistsError,
    BankNotFoundError,
    BaseMismatchError,
    CorruptionError,
    StorageError,
    TaskExistsError,
    TaskNotFoundError,
)
from tvbank.storage import MemoryStorage, open_storage


@pytest.fixture
def source():
    return banks.small_bank()


def objects_of(place):
    """All objects but the catalog, whose generation counts the copies."""
    found = banks.contents(open_storage(place))
    del found["zarr.json"]
    return found


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_a_whole_bank(source, kind, tmp_path, request):
    place = {"local": tmp_path / "copy", "memory": MemoryStorage()}.get(kind)
    place = request.getfixturevalue("s3") if place is None else place
    seen = []
    report = tvbank.copy(source.storage, place, progress=lambda *at: seen.append(at))
    assert report.tasks == ("exact", "lossy")
    assert seen[-1][0] == seen[-1][1] == sum(task.stored_bytes for task in source.values())
    assert objects_of(place) == objects_of(source.storage)
    copied = tvbank.open(place)
    assert banks.all_numbers(copied) == banks.all_numbers(source)
    assert copied.verify() == []
    again = tvbank.copy(source.storage, place)
    assert (again.tasks, again.present, again.objects) == ((), ("exact", "lossy"), 0)
    assert tvbank.open(place).generation == copied.generation


def test_there_and_back_through_a_zip_file(source, tmp_path):
    tvbank.pack(source.storage, tmp_path / "bank.zip")
    tvbank.copy(tmp_path / "bank.zip", tmp_path / "copy")
    assert objects_of(tmp_path / "copy") == objects_of(source.storage)
    with pytest.raises(StorageError, match="can only be read"):
        tvbank.copy(source.storage, tmp_path / "bank.zip")


def test_some_tasks_into_a_bank_that_has_others(source, tmp_path):
    target = tvbank.create(tmp_path / "bank", base=banks.base_model(), chunk_length=8)
    target.add("own", banks.fine_tune(3), tvbank.Exact())
    own = banks.numbers(target["own"])
    assert tvbank.copy(source.storage, target.storage, ["lossy"]).tasks == ("lossy",)
    after = tvbank.open(tmp_path / "bank")
    assert banks.all_numbers(after) == {"own": own, "lossy": banks.numbers(source["lossy"])}
    assert after.verify() == []
    assert after.generation == 2


def test_a_task_of_that_name(source):
    target = banks.small_bank()
    target.add("lossy", banks.fine_tune(5), tvbank.Exact(), replace=True)
    before = banks.contents(target.storage)
    with pytest.raises(TaskExistsError, match="already has a task 'lossy'"):
        tvbank.copy(source.storage, target.storage)
    assert banks.contents(target.storage) == before
    assert tvbank.copy(source.storage, target.storage, replace=True).tasks == ("lossy",)
    assert banks.all_numbers(tvbank.open(target.storage)) == banks.all_numbers(source)


def test_another_base_is_refused_by_name(source):
    other = banks.base_model()
    other["half"] = other["half"] + 1
    target = tvbank.create(MemoryStorage(), base=other, chunk_length=8)
    before = banks.contents(target.storage)
    with pytest.raises(BaseMismatchError, match=r"another base .*units differ: 'half'") as caught:
        tvbank.copy(source.storage, target.storage)
    assert caught.value.units == ("half",)
    assert banks.contents(target.storage) == before
    chunked = tvbank.create(MemoryStorage(), base=banks.base_model(), chunk_length=16)
    with pytest.raises(BaseMismatchError, match="chunks"):
        tvbank.copy(source.storage, chunked.storage)


def test_what_is_not_there(source, tmp_path):
    with pytest.raises(TaskNotFoundError, match="'cats'"):
        tvbank.copy(source.storage, tmp_path / "copy", ["lossy", "cats"])
    assert not (tmp_path / "copy").exists()
    with pytest.raises(BankNotFoundError):
        tvbank.copy(tmp_path / "nothing", tmp_path / "copy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_bytes(b"mine")
    with pytest.raises(BankExistsError, match="notes"):
        tvbank.copy(source.storage, tmp_path / "full")


def test_nothing_damaged_is_copied(source):
    sound = banks.contents(source.storage)
    exact = banks.numbers(source["exact"])
    for key in [key for key in sound if key.startswith("tasks/lossy/") and key.count("/") > 2]:
        for damage in (lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data + b"x",
                       lambda data: data[:-1], None):  # fmt: skip
            objects = dict(sound)
            if damage is None:
                del objects[key]
            else:
                objects[key] = damage(objects[key])
            target = MemoryStorage()
            with pytest.raises(CorruptionError) as caught:
                tvbank.copy(banks.store(objects), target)
            assert caught.value.key == key
            copied = tvbank.open(target)
            assert banks.all_numbers(copied) == {"exact": exact}
            assert copied.verify() == []


class Interrupted(banks.CountingStorage):
    """Refuses from the n-th write on."""

    def __init__(self, inner, number):
        super().__init__(inner)
        self.number = number

    def put(self, key, data):
        if self.calls["put"] >= self.number:
            raise StorageError("no more")
        super().put(key, data)

    def put_if_unchanged(self, key, data, tag):
        if self.calls["put"] >= self.number:
            raise StorageError("no more")
        super().put_if_unchanged(key, data, tag)


def test_a_copy_goes_on_where_it_was(source, tmp_path):
    expected = objects_of(source.storage)
    for number in range(100):
        place = open_storage(tmp_path / str(number))
        interrupted = Interrupted(place, number)
        try:
            tvbank.copy(source.storage, interrupted)
        except StorageError:
            report = tvbank.copy(source.storage, place)
            whole = report.resumed + report.objects
            assert report.repaired == 0
            assert len(report.tasks) == 0 or whole > 0
            assert objects_of(place) == expected
            assert banks.all_numbers(tvbank.open(place)) == banks.all_numbers(source)
        else:
            assert number > 10
            return
    raise AssertionError("it never ended")


def test_what_lies_there_of_another_size_is_written_anew(source, tmp_path):
    tvbank.copy(source.storage, tmp_path / "copy", ["exact"])
    revision = source["lossy"].revision
    place = open_storage(tmp_path / "copy")
    place.put(f"tasks/lossy/{revision}/delta/c/0", b"half of it")
    tvbank.copy(source.storage, place)
    assert tvbank.open(place).verify() == []
    assert objects_of(place) == objects_of(source.storage)


def flip(place, key):
    """Damage an object that keeps its size."""
    data = bytearray(place.get(key))
    data[len(data) // 2] ^= 1
    place.put(key, bytes(data))


def router():
    rng = np.random.default_rng(0)
    found = {name: rng.standard_normal((12, 5)).astype("f4") for name in ("exact", "lossy")}
    return tvbank.Router.fit(found, neighbours=3)


def routed(source):
    """Give a bank a router."""
    source.add_router("one", router())


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_damage_that_lies_at_the_target_is_never_taken_for_a_copy(source, kind, tmp_path, request):
    place = {"local": tmp_path / "copy", "memory": MemoryStorage()}.get(kind)
    place = request.getfixturevalue("s3") if place is None else place
    routed(source)
    tvbank.copy(source.storage, place)
    target = open_storage(place)
    keys = [key for key in objects_of(place) if key.count("/") > 2]
    for key in keys:
        flip(target, key)
    bank = tvbank.open(place)
    bank.remove_router("one")
    for name in ("exact", "lossy"):
        bank.remove(name)
    report = tvbank.copy(source.storage, place)
    assert (report.tasks, report.routers) == (("exact", "lossy"), ("one",))
    assert (report.resumed, report.objects, report.repaired) == (0, len(keys), len(keys))
    assert objects_of(place) == objects_of(source.storage)
    assert tvbank.open(place).verify() == []


def test_replacing_by_the_same_revision_repairs_what_is_damaged_of_it(source, tmp_path):
    routed(source)
    tvbank.copy(source.storage, tmp_path / "copy")
    place = open_storage(tmp_path / "copy")
    sound = objects_of(place)
    for key in sound:
        if key == "base/zarr.json":
            continue  # every copy looks at it
        for damage in (flip, lambda place, key: place.delete(key)):
            damage(place, key)
            left = tvbank.copy(source.storage, place)  # says itself that it has not looked
            assert (left.objects, left.repaired) == (0, 0)
            report = tvbank.copy(source.storage, place, replace=True)
            assert (report.tasks, report.present, report.repaired) == ((), ("exact", "lossy"), 1)
            assert report.resumed == 0
            assert objects_of(place) == sound
    generation = tvbank.open(place).generation
    assert tvbank.copy(source.storage, place, replace=True).repaired == 0
    assert tvbank.open(place).generation == generation


def test_a_damaged_layout_at_the_target_is_repaired(source, tmp_path):
    tvbank.copy(source.storage, tmp_path / "copy")
    flip(open_storage(tmp_path / "copy"), "base/zarr.json")
    assert tvbank.copy(source.storage, tmp_path / "copy").repaired == 1
    assert tvbank.open(tmp_path / "copy").verify() == []


def test_a_pipe_in_the_place_of_an_object_is_replaced(source, tmp_path):
    tvbank.copy(source.storage, tmp_path / "copy")
    path = next((tmp_path / "copy").rglob("delta/c/0"))
    path.unlink()
    os.mkfifo(path)
    assert tvbank.copy(source.storage, tmp_path / "copy", replace=True).repaired == 1
    assert tvbank.open(tmp_path / "copy").verify() == []


def test_adding_the_same_again_repairs_it(source):
    routed(source)
    sound = banks.contents(source.storage)
    for key in sound:
        if key.count("/") > 2:
            flip(source.storage, key)
    bank = tvbank.open(source.storage)
    exact = banks.exact_tune()
    base = banks.base_model()
    bank.add("exact", exact, tvbank.Exact(), base=base, replace=True)
    bank.add(
        "lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5), {"labels": ["cat", "dog"]},
        base=base, replace=True,
    )  # fmt: skip
    bank.add_router("one", router(), replace=True)
    assert bank.verify() == []
    now = banks.contents(source.storage)
    assert {key: now[key] for key in sound if key != "zarr.json"} == {
        key: data for key, data in sound.items() if key != "zarr.json"
    }
