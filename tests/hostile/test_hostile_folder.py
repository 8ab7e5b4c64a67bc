"""A bank's folder from a stranger: links that lead out of it, and files that are none."""

import os
from contextlib import suppress
from pathlib import Path

import banks
import numpy as np
import pytest

import tvbank
from tvbank.errors import InvalidNameError, StorageError, TvbankError
from tvbank.storage import LocalStorage

BASE = {"w": np.arange(20, dtype=np.float32)}
TUNED = {"w": BASE["w"] + 1}


@pytest.fixture
def folder(tmp_path):
    tvbank.create(tmp_path / "bank", BASE, chunk_length=8).add("task", TUNED, tvbank.Exact())
    return tmp_path / "bank"


@pytest.fixture
def elsewhere(tmp_path):
    """A folder that no bank has any business in."""
    place = tmp_path / "elsewhere"
    (place / "empty" / "folder").mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    return place


def seen(place):
    return {
        path.relative_to(place).as_posix(): path.read_bytes() if path.is_file() else None
        for path in place.rglob("*")
    }


def replace_by_link(path, target):
    moved = path.with_name(path.name + " moved")
    path.rename(moved)
    path.symlink_to(target, target_is_directory=target.is_dir())
    return moved


def test_linked_objects_are_read_as_caches_of_downloads_have_them(folder, tmp_path):
    sound = banks.all_numbers(tvbank.open(folder))
    for number, path in enumerate([p for p in folder.rglob("*") if p.is_file()]):
        path.rename(tmp_path / str(number))
        path.symlink_to(tmp_path / str(number))
    bank = tvbank.open(folder)
    assert bank.verify() == []
    assert banks.all_numbers(bank) == sound


def test_a_linked_object_must_have_its_digest(folder, elsewhere):
    shard = next(folder.rglob("delta/c/0"))
    replace_by_link(shard, elsewhere / "mine.txt")
    bank = tvbank.open(folder)
    assert bank.verify()
    with pytest.raises(TvbankError) as caught:
        bank["task"]["w"].to_dense()
    assert "mine" not in str(caught.value).replace("mine.txt", "")


@pytest.mark.parametrize("link", ["tasks", "tasks/task", "tasks/new"])
def test_nothing_is_written_or_removed_through_a_linked_folder(folder, elsewhere, link):
    before = seen(elsewhere)
    path = folder / link
    if path.exists():
        for found in list(path.rglob("*")):  # the stranger's bank works, to be tempting
            copy = elsewhere / found.relative_to(path)
            if found.is_file():
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(found.read_bytes())
        before = seen(elsewhere)
        replace_by_link(path, elsewhere)
    else:
        path.symlink_to(elsewhere)
    bank = tvbank.open(folder)
    for change in (
        lambda: bank.add("new", TUNED, tvbank.Exact(), base=BASE),
        lambda: bank.add("task", BASE, tvbank.Exact(), base=BASE, replace=True),
        lambda: bank.remove("task"),
        lambda: bank.gc(grace=0),
    ):
        with suppress(StorageError):
            change()
        assert seen(elsewhere) == before


def test_a_linked_folder_is_named(folder, elsewhere):
    (folder / "tasks" / "new").symlink_to(elsewhere)
    with pytest.raises(StorageError, match="'tasks/new' is a symbolic link"):
        tvbank.open(folder).add("new", TUNED, tvbank.Exact(), base=BASE)


def test_what_links_lead_to_is_no_garbage(folder, elsewhere):
    (folder / "tasks" / "old").symlink_to(elsewhere)
    (folder / "tasks" / "note.tmp-0123").symlink_to(elsewhere / "mine.txt")
    before = seen(elsewhere)
    bank = tvbank.open(folder)
    bank.gc(grace=0)
    assert seen(elsewhere) == before
    assert bank.verify() == []
    assert not os.path.lexists(folder / "tasks" / "note.tmp-0123")  # the link itself was


def test_a_root_that_is_a_link_is_the_users_own(folder, tmp_path):
    (tmp_path / "name").symlink_to(folder)
    tvbank.open(tmp_path / "name").add("new", TUNED, tvbank.Exact(), base=BASE)
    assert set(tvbank.open(folder)) == {"task", "new"}


@pytest.mark.parametrize("name", ["zarr.json", "base/zarr.json", "shard"])
def test_a_pipe_is_no_object(folder, name):
    path = next(folder.rglob("delta/c/0")) if name == "shard" else folder / name
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TvbankError, match="cannot read"):
        tvbank.open(folder)["task"]["w"].to_dense()


def test_a_link_to_itself_is_an_error(folder):
    (folder / "zarr.json").unlink()
    (folder / "zarr.json").symlink_to(folder / "zarr.json")
    with pytest.raises(TvbankError):
        tvbank.open(folder)


ESCAPES = ["../x", "..", ".", "/etc/passwd", "a/../../x", "a//b", "a/", "", "a\0b", "./a"]


@pytest.mark.parametrize("key", ESCAPES)
def test_no_key_leads_out_of_the_folder(folder, key):
    storage = LocalStorage(folder)
    for use in (storage.get, storage.delete, storage.touch, lambda key: storage.put(key, b"x")):
        with pytest.raises(StorageError, match="cannot be the key"):
            use(key)


@pytest.mark.parametrize("name", [*ESCAPES, "zarr.json", "nul", "a.tmp-1", ".hidden", "a b", "é"])
def test_no_task_name_leads_out_of_the_folder(folder, name):
    before = seen(folder)
    with pytest.raises(InvalidNameError):
        tvbank.open(folder).add(name, TUNED, tvbank.Exact(), base=BASE)
    assert seen(folder) == before


def hostile_bank(**edits):
    return banks.store(banks.forge(banks.contents(banks.small_bank().storage), **edits))


@pytest.mark.parametrize("key", ["../zarr.json", "/etc/passwd", "extras/../../x", "delta/c/0"])
def test_no_key_in_a_document_leads_out_of_its_revision(key):
    record = {"size": 1, "sha256": "0" * 64}
    bank = tvbank.open(hostile_bank(revision=lambda body: body["objects"].update({key: record})))
    with pytest.raises(TvbankError, match="is not what it should be"):
        _ = bank["exact"].extras


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "x\n"])
def test_no_task_of_a_catalog_leads_out_of_the_bank(name):
    def rename(catalog):
        catalog["tasks"][name] = catalog["tasks"].pop("exact")

    with pytest.raises(TvbankError):
        tvbank.open(hostile_bank(root=rename))


def test_no_revision_of_a_catalog_leads_out_of_its_task():
    def lead(catalog):
        catalog["tasks"]["exact"]["revision"] = "../../../x".ljust(64, "0")

    with pytest.raises(TvbankError, match="is not what it should be"):
        tvbank.open(hostile_bank(root=lead))


def test_a_unit_may_be_called_like_a_path_and_is_none(tmp_path):
    odd = {"../../x": np.ones(3, np.float32), "/abs": np.ones(2, np.float32)}
    bank = tvbank.create(tmp_path / "deep" / "bank", odd)
    bank.add("t", {name: 2 * array for name, array in odd.items()}, tvbank.Exact())
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"bank"}
    assert not Path("/abs").exists()
    assert set(tvbank.open(tmp_path / "deep" / "bank")["t"]) == set(odd)
