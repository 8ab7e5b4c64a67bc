"""The lock of a folder: kept by nobody who does not write, and never believed without proof."""

import errno
import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import banks
import pytest

import tvbank
from tvbank.errors import StorageError
from tvbank.storage import LocalStorage, MemoryStorage, folder_lock, lock_file

LOCKED = """
import sys
from tvbank.storage import LocalStorage
with LocalStorage(sys.argv[1]).exclusive():
    print("inside")
"""


@pytest.fixture
def storage(tmp_path):
    found = LocalStorage(tmp_path / "store")
    found.put("a", b"x")
    return found


def enters(folder):
    """Whether another process gets the lock."""
    command = [sys.executable, "-c", LOCKED, str(folder)]
    return (
        subprocess.run(command, timeout=60, capture_output=True, check=True).stdout == b"inside\n"
    )


def nothing_locked(_descriptor, _operation):
    """A file system that grants every lock, as some do."""


def no_locks(number):
    def refuse(_descriptor, _operation):
        raise OSError(number, os.strerror(number))

    return refuse


WITHOUT = {
    "granted to all": nothing_locked,
    **{errno.errorcode[n]: no_locks(n) for n in
       (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EBADF)},
}  # fmt: skip


@pytest.fixture(params=WITHOUT)
def without_locks(request, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", WITHOUT[request.param])
    monkeypatch.setattr(folder_lock, "_proven", set())


def count_up(root, times, flock):
    fcntl.flock = WITHOUT[flock]
    storage = LocalStorage(root)
    for _ in range(times):
        with storage.exclusive():
            storage.put("count", b"%d" % (int(storage.get("count")) + 1))


class TestWithoutLocks:
    def test_a_bank_is_made_and_added_to(self, without_locks, tmp_path):
        bank = banks.small_bank(tmp_path / "bank")
        bank.add("new", banks.fine_tune(3), tvbank.Exact())
        assert bank.verify() == []
        assert not [path for path in (tmp_path / "bank").iterdir() if path.name.startswith(".")]

    def test_the_lock_file_is_no_object(self, without_locks, storage, tmp_path):
        with storage.exclusive():
            holder = json.loads((tmp_path / "store" / ".lock").read_text())
            assert holder["pid"] == os.getpid()
            assert [found.key for found in storage.list()] == ["a"]
        assert not (tmp_path / "store" / ".lock").exists()

    @pytest.mark.parametrize("flock", ["granted to all", "ENOSYS"])
    def test_processes_exclude_each_other(self, flock, storage, tmp_path):
        storage.put("count", b"0")
        spawn = multiprocessing.get_context("spawn")
        arguments = (tmp_path / "store", 25, flock)
        processes = [spawn.Process(target=count_up, args=arguments) for _ in "ab"]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert storage.get("count") == b"50"

    def test_threads_exclude_each_other(self, without_locks, storage):
        inside = threading.Event()

        def enter():
            with storage.exclusive():
                inside.set()

        with storage.exclusive(), storage.exclusive():
            thread = threading.Thread(target=enter)
            thread.start()
            assert not inside.wait(0.2)
        thread.join()

    def test_the_file_of_a_process_that_was_killed_is_removed(self, storage, tmp_path, monkeypatch):
        kill = LOCKED.replace('print("inside")', "import os; os._exit(9)")
        kill = "import fcntl; fcntl.flock = lambda *_: None\n" + kill
        folder = tmp_path / "store"
        assert subprocess.run([sys.executable, "-c", kill, folder], check=False).returncode == 9
        assert (folder / ".lock").exists()
        monkeypatch.setattr(fcntl, "flock", nothing_locked)
        with storage.exclusive():
            assert json.loads((folder / ".lock").read_text())["pid"] == os.getpid()
        assert not (folder / ".lock").exists()

    def test_a_process_of_the_same_number_is_told_apart(self, storage, tmp_path, monkeypatch):
        monkeypatch.setattr(fcntl, "flock", nothing_locked)
        with storage.exclusive():
            holder = json.loads((tmp_path / "store/.lock").read_text())
        (tmp_path / "store/.lock").write_text(json.dumps(holder | {"started": "1"}))
        with storage.exclusive():
            pass

    @pytest.mark.parametrize("text", [
        b"", b"{}", b"\xff", json.dumps({"host": "far", "machine": "other", "pid": 7, "started": "",
                                         "since": "2026", "token": "t"}).encode(),
    ])  # fmt: skip
    def test_a_holder_that_cannot_be_asked_is_waited_for_and_named(
        self, text, storage, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(fcntl, "flock", nothing_locked)
        monkeypatch.setattr(lock_file, "PATIENCE", 0.0)
        (tmp_path / "store/.lock").write_bytes(text)
        who = "process 7 of 'far'" if b"far" in text else "a writer that left no name"
        with pytest.raises(StorageError, match=rf"store: .*{who}.*remove '\.lock'"):
            storage.exclusive().__enter__()
        assert (tmp_path / "store/.lock").read_bytes() == text

    def test_what_is_no_file_is_not_waited_on(self, storage, tmp_path, monkeypatch):
        monkeypatch.setattr(fcntl, "flock", nothing_locked)
        monkeypatch.setattr(lock_file, "PATIENCE", 0.0)
        os.mkfifo(tmp_path / "store/.lock")
        with pytest.raises(StorageError, match=r"remove '\.lock'"):
            storage.exclusive().__enter__()

    def test_locks_that_have_run_out_are_an_error_where_others_have_some(
        self, storage, monkeypatch
    ):
        with storage.exclusive():
            pass
        monkeypatch.setattr(fcntl, "flock", no_locks(errno.ENOLCK))
        with pytest.raises(StorageError, match="cannot lock the folder: No locks available"):
            storage.exclusive().__enter__()


def held(storage):
    """Take the lock on another thread; returns what gives it back."""
    taken, done = threading.Event(), threading.Event()

    def write():
        with storage.exclusive():
            taken.set()
            done.wait()

    thread = threading.Thread(target=write)
    thread.start()
    taken.wait()

    def give_back():
        done.set()
        thread.join()

    return give_back


class TestForks:
    def test_a_child_does_not_keep_the_lock(self, storage, tmp_path):
        give_back = held(storage)
        told, answer = os.pipe()
        child = os.fork()
        if not child:
            os.read(told, 1)
            os._exit(0)
        give_back()
        try:
            assert enters(tmp_path / "store")
        finally:
            os.write(answer, b"x")
            os.waitpid(child, 0)

    def test_a_child_does_not_give_back_its_parents_lock(self, storage, tmp_path):
        with storage.exclusive():
            child = os.fork()
            if not child:
                try:
                    storage.put("a", b"y")
                except StorageError as error:
                    os._exit(0 if "forked" in str(error) else 1)
                os._exit(2)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            other = os.open(tmp_path / "store", os.O_RDONLY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
        assert enters(tmp_path / "store")

    @pytest.mark.parametrize("kind", [LocalStorage, MemoryStorage])
    def test_a_child_can_write_once_its_parent_has_given_back(self, kind, tmp_path):
        storage = kind(str(tmp_path / "store"))
        give_back = held(storage)
        child = os.fork()
        if not child:
            signal.alarm(60)
            with storage.exclusive():
                storage.put("b", b"x")
            os._exit(0)
        give_back()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class Interruption(KeyboardInterrupt):
    """As Ctrl-C raises it."""


class TestInterrupts:
    def test_no_moment_of_an_interrupt_keeps_the_lock(self, storage):
        """Interrupted before and after every call that taking and giving back makes, in turn."""
        moment, done = 0, False
        while not done:
            calls = iter(range(moment + 1))

            def interrupt(frame, event, _argument, calls=calls, moment=moment):
                ours = frame.f_code.co_filename == __file__ or event == "return"
                if not ours and next(calls, None) == moment:
                    sys.setprofile(None)
                    raise Interruption

            sys.setprofile(interrupt)
            try:
                with storage.exclusive():
                    pass
                done = True
            except Interruption:
                pass
            finally:
                sys.setprofile(None)
            assert storage._lock._held == 0
            with storage.exclusive():
                pass
            moment += 1
        assert moment > 20


class TestReplaced:
    def test_a_folder_that_is_moved_while_it_is_written_to(self, storage, tmp_path):
        changes = [
            lambda: storage.put("a", b"y"), lambda: storage.delete("a"),
            lambda: storage.touch("a"), lambda: storage.put_if_unchanged("b", b"", None),
        ]  # fmt: skip
        with storage.exclusive():
            (tmp_path / "store").rename(tmp_path / "elsewhere")
            LocalStorage(tmp_path / "store").put("a", b"another's")
            for change in changes:
                with pytest.raises(StorageError, match="was moved, removed or replaced"):
                    change()
        assert storage.get("a") == b"another's"
        assert (tmp_path / "elsewhere/a").read_bytes() == b"x"
        with storage.exclusive():
            storage.put("a", b"y")

    def test_who_waited_for_a_folder_that_was_replaced_locks_the_new_one(self, storage, tmp_path):
        folder, entered = tmp_path / "store", threading.Event()

        def enter():
            with storage.exclusive():
                storage.put("b", b"x")
                entered.set()

        with storage.exclusive():
            thread = threading.Thread(target=enter)
            thread.start()
            time.sleep(0.05)
            folder.rename(tmp_path / "elsewhere")
            folder.mkdir()
        thread.join()
        assert entered.is_set()
        assert (folder / "b").exists()

    def test_a_folder_made_for_nothing_goes(self, tmp_path):
        bank = banks.small_bank(tmp_path / "bank")
        (tmp_path / "bank").rename(tmp_path / "elsewhere")
        with pytest.raises(tvbank.errors.BankNotFoundError):
            bank.add("new", banks.fine_tune(3), tvbank.Exact())
        assert not (tmp_path / "bank").exists()


class TestTouch:
    def test_links_are_touched_themselves(self, storage, tmp_path):
        outside = tmp_path / "outside"
        outside.write_bytes(b"secret")
        os.utime(outside, (1, 1))
        (tmp_path / "store/link").symlink_to(outside)
        os.utime(tmp_path / "store/link", (1, 1), follow_symlinks=False)
        storage.touch("link")
        assert outside.stat().st_mtime == 1
        assert {found.key: found.modified > 1 for found in storage.list()}["link"]

    def test_what_lies_behind_a_linked_folder_is_not_there(self, storage, tmp_path):
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "b").write_bytes(b"x")
        os.utime(outside / "b", (1, 1))
        (tmp_path / "store/d").symlink_to(outside)
        with pytest.raises(tvbank.storage.ObjectNotFoundError):
            storage.touch("d/b")
        assert (outside / "b").stat().st_mtime == 1
        assert list(storage.list("d/")) == []

    @pytest.mark.parametrize("kind", ["pipe", "folder", "nothing", "socket"])
    def test_what_is_no_object_is_not_opened(self, kind, storage, tmp_path):
        path = tmp_path / "store/x"
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "socket":
            os.mknod(path, 0o600 | 0o140000)
        with pytest.raises(tvbank.storage.ObjectNotFoundError):
            storage.touch("x")

    def test_no_more_is_read_than_was_recorded(self, storage, tmp_path, monkeypatch):
        def refuse(_file, **_how):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.utime", refuse)
        path = tmp_path / "store/a"
        os.truncate(path, 2**40)
        storage.touch("a", 10)
        assert path.stat().st_size == 2**40
        (tmp_path / "store/link").symlink_to(path)
        storage.touch("link", 2**50)
        assert (tmp_path / "store/link").is_symlink()
        store = MemoryStorage()
        store.put("a", b"x" * 11)
        tag = store.get_tagged("a")[1]
        store.touch("a", 10)
        assert store.get_tagged("a")[1] == tag
