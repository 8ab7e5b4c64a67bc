"""A full, read-only or failing disk: one clear sentence, and the old catalog stays."""

import errno
import itertools
import os
import resource
import shutil
from contextlib import contextmanager

import banks
import pytest
from survival import assert_survived, go_on, states

import tvbank
from tvbank.bank.writer import Spool
from tvbank.errors import StorageError
from tvbank.storage import LocalStorage

VERBS = ["add", "replace", "remove", "gc", "copy"]
REFUSALS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "failing": errno.EIO}


def assert_clear(message, path):
    assert str(path) in message
    assert "cannot " in message
    assert "\n" not in message


def leftovers(path):
    return [place for place in path.rglob("*") if ".tmp-" in place.name]


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("verb", VERBS)
def test_a_disk_that_refuses_from_some_moment_on(victim, sound, verb, kind, tmp_path):
    allowed = states(sound, verb, tmp_path, victim)
    before = banks.all_numbers(tvbank.open(sound))
    for number in itertools.count():
        path = shutil.copytree(sound, tmp_path / str(number) / "bank")
        order = {"do": verb, "bank": str(path), "refuse": number, "errno": REFUSALS[kind]}
        refused = victim(**order)["refused"]
        if refused is None:
            assert number >= 2 or (verb, kind) == ("gc", "full")  # room is made by removing
            return
        assert_clear(refused, path)
        assert os.strerror(REFUSALS[kind]) in refused
        assert (path / "zarr.json").read_bytes() == (sound / "zarr.json").read_bytes()
        assert banks.all_numbers(tvbank.open(path)) == before
        if kind == "full":
            assert not leftovers(path)
        assert_survived(path, allowed)
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("verb", ["add", "replace", "remove", "copy"])
def test_writes_that_do_not_reach_the_disk(victim, sound, verb, tmp_path):
    allowed = states(sound, verb, tmp_path, victim)
    for number in itertools.count():
        path = shutil.copytree(sound, tmp_path / str(number) / "bank")
        refused = victim(do=verb, bank=str(path), **{"refuse sync": number})["refused"]
        if refused is None:
            assert number >= 2
            return
        assert_clear(refused, path)
        assert not leftovers(path)
        assert_survived(path, allowed)
        shutil.rmtree(path.parent)


@pytest.mark.parametrize("verb", ["add", "replace", "remove", "copy"])
def test_files_that_may_not_grow(victim, sound, verb, tmp_path):
    allowed = states(sound, verb, tmp_path, victim)
    for largest in (0, 1, 30, 60, 300, 600, 900, 1200, 2**20):
        path = shutil.copytree(sound, tmp_path / str(largest) / "bank")
        refused = victim(do=verb, bank=str(path), **{"largest file": largest})["refused"]
        if largest <= 300:
            assert refused
        if largest == 2**20:
            assert refused is None
        if refused:
            assert_clear(refused, path)
            assert "File too large" in refused
            assert (path / "zarr.json").read_bytes() == (sound / "zarr.json").read_bytes()
        assert not leftovers(path)
        assert_survived(path, allowed)


def test_an_export_to_a_disk_that_refuses(victim, sound, tmp_path):
    path = shutil.copytree(sound, tmp_path / "bank")
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"the old file")
    orders = [{"refuse": n, "errno": code} for n in (0, 1) for code in REFUSALS.values()]
    orders += [{"refuse sync": 0}, {"largest file": 100}]
    for order in orders:
        refused = victim(do="export", bank=str(path), **order)["refused"]
        assert_clear(refused, out)
        assert out.read_bytes() == b"the old file"


def test_creating_on_a_disk_that_refuses(victim, tmp_path):
    for number in itertools.count():
        path = tmp_path / str(number) / "bank"
        path.parent.mkdir()
        order = {"bank": str(path), "refuse": number, "errno": errno.ENOSPC}
        refused = victim(do="create", **order)["refused"]
        if refused is None:
            assert number >= 4
            return
        assert_clear(refused, path)
        assert not (path / "zarr.json").exists()
        bank = tvbank.create(path, base=banks.base_model(), chunk_length=8)
        bank.add("lossy", banks.fine_tune(0), tvbank.TSwitch(drop=0.5))
        go_on(path)


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [1, 100, 10_000, 100_000])
def test_a_full_disk_for_temporary_files(size):
    with (
        files_of_at_most(0),
        pytest.raises(StorageError, match=r"temporary file.*TMPDIR") as caught,
    ):
        fill(size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_a_disk_for_temporary_files_that_becomes_full(size):
    with Spool(memory_bytes=1) as spool:
        spool.add("a", bytes(1000))
        with files_of_at_most(1000), pytest.raises(StorageError, match=r"temporary file.*TMPDIR"):
            spool.add("b", bytes(size))


def fill(size):
    with Spool(memory_bytes=1) as spool:
        spool.add("a", bytes(size))
        spool.add("b", bytes(size))
        dict(spool)


def test_a_spool_gives_back_what_was_put_in():
    for memory in (1, 10, 10**6):
        with Spool(memory_bytes=memory) as spool:
            objects = {str(n): bytes([n]) * n * 7 for n in range(20)}
            for key, data in objects.items():
                spool.add(key, data)
            assert dict(spool) == dict(spool) == objects


def test_an_object_that_does_not_fit(tmp_path):
    storage = LocalStorage(tmp_path / "store")
    storage.put("a", b"old")
    for size in (101, 10_000, 1_000_000):
        with files_of_at_most(100), pytest.raises(StorageError, match="cannot write 'a': File too"):
            storage.put("a", bytes(size))
        assert [found.key for found in storage.list()] == ["a"]
        assert storage.get("a") == b"old"
