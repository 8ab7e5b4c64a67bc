"""Garbage collection: all that the catalog does not name goes, all that it names stays."""

import os
import time

import banks
import pytest

import tvbank
from tvbank.bank.gc import GcReport, collect_garbage
from tvbank.errors import BankNotFoundError, CorruptionError, UsageError
from tvbank.storage import LocalStorage, MemoryStorage


@pytest.fixture(params=["local", "memory"])
def bank(request, tmp_path):
    place = LocalStorage(tmp_path / "bank") if request.param == "local" else MemoryStorage()
    return banks.small_bank(place)


def keys(bank):
    return set(banks.contents(bank.storage))


def test_a_bank_without_garbage_stays_as_it_is(bank):
    before = banks.contents(bank.storage)
    assert bank.gc(grace=0) == GcReport(0, 0)
    assert banks.contents(bank.storage) == before


def test_a_removed_task_goes_and_the_others_stay(bank):
    others = banks.numbers(bank["exact"])
    before = banks.contents(bank.storage)
    bank.remove("lossy")
    assert keys(bank) == set(before)
    gone = {key: data for key, data in before.items() if key.startswith("tasks/lossy/")}
    assert bank.gc(grace=0) == GcReport(len(gone), sum(map(len, gone.values())))
    assert keys(bank) == set(before) - set(gone)
    assert banks.all_numbers(bank) == {"exact": others}
    assert bank.verify() == []


def test_a_replaced_revision_goes(bank):
    old = bank["lossy"].revision
    bank.add("lossy", banks.fine_tune(5), tvbank.TSwitch(drop=0.1), replace=True,
             base=banks.base_model())  # fmt: skip
    expected = banks.all_numbers(bank)
    assert old != bank["lossy"].revision
    assert any(old in key for key in keys(bank))
    assert bank.gc(grace=0).objects > 0
    assert not any(old in key for key in keys(bank))
    assert banks.all_numbers(bank) == expected
    assert bank.verify() == []


def test_the_same_fine_tune_again_leaves_no_garbage(bank):
    before = banks.contents(bank.storage)
    bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5), {"labels": ["cat", "dog"]},
             replace=True)  # fmt: skip
    assert bank.gc(grace=0) == GcReport(0, 0)
    after = banks.contents(bank.storage)
    assert {key for key in after if after[key] != before[key]} == {"zarr.json"}


DEBRIS = [
    "zarr.json.tmp-0123456789abcdef",
    "base/zarr.json.tmp-0123456789abcdef",
    "tasks/never/zarr.json",
    "tasks/never/" + "0" * 64 + "/zarr.json",
    "tasks/lossy/" + "0" * 64 + "/delta/c/0",
    "tasks/lossy/zarr.json.tmp-0",
    "tasks/elsewhere",
]


def test_debris_of_killed_writers_goes(bank):
    before = banks.contents(bank.storage)
    revision = bank["exact"].revision
    debris = [*DEBRIS, f"tasks/exact/{revision}/delta/c/0.tmp-1"]
    for key in debris:
        bank.storage.put(key, b"debris")
    assert bank.gc(grace=0) == GcReport(len(debris), 6 * len(debris))
    assert banks.contents(bank.storage) == before


def test_what_is_not_the_banks_stays(bank):
    revision = bank["exact"].revision
    foreign = [
        "cats.safetensors", "checkpoints/cats.safetensors", "README.md", "merges/r/zarr.json",
        f"elsewhere/exact/{revision}/zarr.json", "base/notes", ".tmp-notes/x",
    ]  # fmt: skip
    for key in foreign:
        bank.storage.put(key, b"precious")
    before = banks.contents(bank.storage)
    assert bank.gc(grace=0) == GcReport(0, 0)
    assert banks.contents(bank.storage) == before


def test_the_note_of_the_base_stays(tmp_path):
    from safetensors.numpy import save_file

    save_file({"w": banks.base_model()["head"]}, tmp_path / "base.safetensors")
    bank = tvbank.create(tmp_path / "bank", base=tmp_path / "base.safetensors")
    before = banks.contents(bank.storage)
    assert "base/location/zarr.json" in before
    assert bank.gc(grace=0) == GcReport(0, 0)
    assert banks.contents(bank.storage) == before


def test_the_last_task_takes_its_groups_along(bank):
    for name in list(bank):
        bank.remove(name)
    bank.gc(grace=0)
    assert keys(bank) == {"zarr.json", "base/zarr.json"}
    assert tvbank.open(bank.storage).verify() == []


def test_an_older_view_says_that_its_task_was_removed(bank):
    older = tvbank.open(bank.storage)
    bank.remove("lossy")
    expected = banks.numbers(bank["exact"])
    assert older["lossy"]["half"].to_dense().any()
    bank.gc(grace=0)
    with pytest.raises(CorruptionError, match="removed since the bank was opened: open it again"):
        older["lossy"]["half"].to_dense()
    assert banks.numbers(older["exact"]) == expected


def test_nothing_is_removed_where_there_is_no_sound_catalog(bank):
    before = banks.contents(bank.storage)
    root = bytearray(before["zarr.json"])
    root[-40] ^= 1
    bank.storage.put("zarr.json", bytes(root))
    with pytest.raises(CorruptionError):
        bank.gc(grace=0)
    assert keys(bank) == set(before)
    bank.storage.delete("zarr.json")
    with pytest.raises(BankNotFoundError):
        bank.gc(grace=0)
    assert keys(bank) == set(before) - {"zarr.json"}


def test_empty_folders_go(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    (tmp_path / "bank/tasks/never/0123/delta/c").mkdir(parents=True)
    bank.gc(grace=0)
    assert not (tmp_path / "bank/tasks/never").exists()
    assert bank.verify() == []


def test_readers_of_the_generation_before_have_the_grace_period(bank):
    older = tvbank.open(bank.storage)
    read = banks.numbers(older["lossy"])
    bank.remove("lossy")
    report = bank.gc()
    assert report.objects == 0
    assert report.kept_objects > 0
    assert report.kept_bytes > 0
    assert banks.numbers(tvbank.open(bank.storage)["exact"])
    assert banks.numbers(older["lossy"]) == read


def test_what_is_taken_out_of_an_old_bank_becomes_young(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    for path in (tmp_path / "bank").rglob("*"):
        os.utime(path, (0, 0))
    never = bank.storage
    never.put("tasks/never/" + "0" * 64 + "/zarr.json", b"debris")
    os.utime(tmp_path / "bank/tasks/never" / ("0" * 64) / "zarr.json", (0, 0))
    bank.remove("lossy")
    bank.add("exact", banks.fine_tune(5), tvbank.Exact(), replace=True)
    assert bank.gc().objects == 2  # the debris, and the marker on the way to the removed task
    assert bank.gc().objects == 0
    assert bank.gc(grace=0).objects > 4
    assert bank.verify() == []


class WithoutLocks(banks.CountingStorage):
    """A store where writers meet at the catalog only; ``then`` runs after the first listing."""

    locks = False

    def list(self, prefix=""):
        yield from super().list(prefix)
        if not prefix:
            self.then()


def test_a_writer_that_comes_after_the_listing_loses_nothing():
    inner = MemoryStorage()
    bank = banks.small_bank(inner)
    added = bank.add("late", banks.fine_tune(3), tvbank.Exact())
    expected = banks.numbers(added)
    bank.remove("late")
    storage = WithoutLocks(inner)
    storage.then = lambda: tvbank.open(inner).add(
        "late", banks.fine_tune(3), tvbank.Exact(), base=banks.base_model()
    )
    collect_garbage(storage, grace=0)
    bank = tvbank.open(inner)
    assert banks.numbers(bank["late"]) == expected
    assert bank.verify() == []


@pytest.mark.parametrize("grace", [-1.0, float("nan")])
def test_a_grace_period_that_is_none(bank, grace):
    with pytest.raises(UsageError, match="grace"):
        bank.gc(grace)


def test_verify_finds_nothing_in_what_is_removed_meanwhile():
    bank = banks.small_bank(MemoryStorage())
    last = list(bank)[-1]
    checked = []

    def remove_the_last(done, total):
        if not checked:
            tvbank.open(bank.storage).remove(last)
            tvbank.open(bank.storage).gc(grace=0)
        checked.append(done)

    assert bank.verify(remove_the_last) == []
    assert checked
    for key in [key for key in banks.contents(bank.storage) if key.endswith("/delta/c/0")]:
        bank.storage.delete(key)
    assert {fault.reason for fault in bank.verify()} == {"object-missing"}


@pytest.mark.parametrize("hours", [-2, 2])
def test_the_collectors_clock_does_not_matter(hours, bank, monkeypatch):
    before = banks.contents(bank.storage)
    bank.remove("lossy")
    ticking = time.time
    monkeypatch.setattr("time.time", lambda: ticking() + 3600 * hours)
    report = bank.gc()
    assert report.objects == 0
    assert report.kept_objects > 0
    assert keys(bank) == set(before)


def test_the_age_of_what_is_dated_in_the_future_counts_from_now(tmp_path):
    bank = banks.small_bank(tmp_path / "bank")
    bank.remove("lossy")
    now = bank.storage.now()
    for path in (tmp_path / "bank/tasks/lossy").rglob("*"):
        os.utime(path, (now + 10**6, now + 10**6))
    assert bank.gc().objects == 0
    dates = [found.modified for found in bank.storage.list("tasks/lossy/")]
    assert dates
    assert max(dates) < now + 60
    for path in (tmp_path / "bank/tasks/lossy").rglob("*"):
        os.utime(path, (now - 4000, now - 4000))
    assert bank.gc().kept_objects == 0
