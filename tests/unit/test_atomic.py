"""Files are replaced whole or not at all; folders are synced where that is possible."""

import errno
import os

import pytest

from tvbank._atomic import TEMPORARY, ReplacedFile, replace_file, sync_folder
from tvbank.errors import StorageError


def refusing(number):
    def refuse(*_arguments):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("name", ["a", "ä" * 100, "x" * 250])
def test_the_new_content_takes_the_place_of_the_old(tmp_path, name):
    path = tmp_path / name
    for content in (b"old", b"", bytes(100_000)):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_half_written_lies_beside_the_target_under_a_recognisable_name(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with ReplacedFile(path) as file:
        file.write(b"new")
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert TEMPORARY.search(temporary.name)
        assert temporary.name.startswith("a.tmp-")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("raised", [RuntimeError, OSError, KeyboardInterrupt])
def test_an_exception_of_the_block_passes_through_and_leaves_nothing(tmp_path, raised):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def write_and_fail():
        with ReplacedFile(path) as file:
            file.write(b"new")
            raise raised

    with pytest.raises(raised):
        write_and_fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
def test_a_refusal_of_the_system_says_path_cause_and_remedy(tmp_path, monkeypatch, call):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with monkeypatch.context() as patched:
        patched.setattr(os, call, refusing(errno.ENOSPC))
        with pytest.raises(StorageError, match=r"cannot write .*/a': No space .*; free some space"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_target(tmp_path):
    with pytest.raises(StorageError, match="Is a directory"):
        replace_file(tmp_path, b"new")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_folders_is_no_failure(tmp_path, monkeypatch, number):
    monkeypatch.setattr(os, "fsync", refusing(number))
    sync_folder(tmp_path)


def test_a_folder_that_may_be_written_to_but_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "open", refusing(errno.EACCES))
    sync_folder(tmp_path)


def test_a_disk_that_fails_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)
