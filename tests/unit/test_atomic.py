"""Files are replaced whole or not at all; folders are synced where that is possible."""

import errno
import os
import subprocess
import sys

import pytest

from tvbank._atomic import (
    TEMPORARY,
    ReplacedFile,
    remove_leftovers,
    replace_file,
    sync_folder,
)
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


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_a_user_names_and_is_no_file_stays(tmp_path, kind):
    path = tmp_path / "out"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(os.devnull)
    with pytest.raises(StorageError, match="not a regular file"):
        replace_file(path, b"new", sweep=True)
    assert path.is_fifo() or path.is_symlink()
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, b"new")  # an object of a bank: a pipe in its place is damage
    assert path.read_bytes() == b"new"


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


KILLED = """
import os, signal, sys
from pathlib import Path
from tvbank._atomic import ReplacedFile
with ReplacedFile(Path(sys.argv[1])) as file:
    file.write(b"half")
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print("writing", flush=True)
    sys.stdin.read()
"""


def left_behind(path):
    """What a writer leaves that is killed."""
    before = set(path.parent.iterdir())
    subprocess.run([sys.executable, "-c", KILLED, path, "die"], check=False)
    (left,) = set(path.parent.iterdir()) - before
    assert TEMPORARY.search(left.name)
    return left


@pytest.mark.parametrize("name", ["a", "x" * 250])
def test_the_next_writer_removes_what_a_killed_one_left(tmp_path, name):
    path = tmp_path / name
    left = left_behind(path)
    replace_file(path, b"new")  # of one object among many: the folder is not listed
    assert left.exists()
    replace_file(path, b"newer", sweep=True)
    assert list(tmp_path.iterdir()) == [path]


def test_what_may_be_anothers_stays(tmp_path):
    endings = ("1", "0123456789abcdeg", "0123456789ABCDEF", "0123456789abcdef.bin")
    others = [f"a.tmp-{ending}" for ending in endings]
    others += ["b.tmp-0123456789abcdef", "xa.tmp-0123456789abcdef"]
    for name in others:
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "a.tmp-00000000000000ff").mkdir()
    (tmp_path / "a.tmp-00000000000000fe").symlink_to(tmp_path / others[0])
    os.mkfifo(tmp_path / "a.tmp-00000000000000fd")
    before = set(tmp_path.iterdir())
    replace_file(tmp_path / "a", b"new", sweep=True)
    assert set(tmp_path.iterdir()) == before | {tmp_path / "a"}


def test_a_writer_that_lives_is_left_alone(tmp_path):
    path = tmp_path / "a"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, path, "live"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == b"writing\n"
        with ReplacedFile(path, sweep=True) as mine:  # of this process, too
            mine.write(b"mine")
            replace_file(path, b"in between", sweep=True)
            assert len(list(tmp_path.iterdir())) == 3
        assert path.read_bytes() == b"mine"
        other.communicate(b"")
    assert other.returncode == 0
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "refuse", [lambda *_: None, refusing(errno.ENOTSUP), refusing(errno.ENOLCK)]
)
def test_where_locks_do_nothing_a_day_without_a_write_takes_their_place(
    tmp_path, monkeypatch, refuse
):
    fcntl = pytest.importorskip("fcntl")
    path = tmp_path / "a"
    young, old = left_behind(path), left_behind(path)
    os.utime(old, (0, 0))
    monkeypatch.setattr(fcntl, "flock", refuse)
    replace_file(path, b"new", sweep=True)
    assert set(tmp_path.iterdir()) == {path, young}


def test_a_temporary_file_that_was_taken_for_a_leftover_is_made_again(tmp_path, monkeypatch):
    """Another writer may look at it between its making and its lock."""
    fcntl = pytest.importorskip("fcntl")
    locked = []
    flock = fcntl.flock

    def sweep_first(descriptor, operation):
        if not locked:
            locked.append(descriptor)
            remove_leftovers(tmp_path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    replace_file(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1
