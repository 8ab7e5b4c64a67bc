"""What every store must do, stated once and run against each."""

import multiprocessing
import threading

import pytest

from tvbank.errors import ConflictError, StorageError
from tvbank.storage import (
    LocalStorage,
    MemoryStorage,
    ObjectNotFoundError,
    StoredObject,
    open_storage,
)

UNSAFE = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a/..", "a\0b"]


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    """An empty store of each kind."""
    if request.param == "local":
        return LocalStorage(tmp_path / "store")
    return (
        MemoryStorage()
        if request.param == "memory"
        else open_storage(request.getfixturevalue("s3"))
    )


class TestStorage:
    def test_what_was_put_is_got(self, storage):
        storage.put("a/b/c", b"content")
        storage.put("a/b/d", b"")
        assert storage.get("a/b/c") == b"content"
        assert storage.get("a/b/d") == b""

    def test_put_replaces(self, storage):
        storage.put("a", b"a long content")
        storage.put("a", b"short")
        assert storage.get("a") == b"short"

    def test_ranges_come_back_in_the_order_asked_for(self, storage):
        storage.put("a", b"0123456789")
        ranges = [(8, 10), (0, 3), (2, 2), (0, 10), (1, 4)]
        assert storage.get_ranges("a", ranges) == [b"89", b"012", b"", b"0123456789", b"123"]
        assert storage.get_ranges("a", []) == []

    @pytest.mark.parametrize("start", [8, 10, 11, 2**40])
    def test_ranges_past_the_end_come_back_short(self, storage, start):
        storage.put("a", b"0123456789")
        assert storage.get_ranges("a", [(start, start + 2**50)]) == [b"0123456789"[start:]]

    def test_tag_changes_with_the_object(self, storage):
        storage.put("a", b"one")
        first = storage.get_tagged("a")
        assert first == storage.get_tagged("a")
        assert first[0] == b"one"
        storage.put("a", b"two")
        assert storage.get_tagged("a")[1] != first[1]

    @pytest.mark.parametrize("limit", [0, 3, 9, 10, 11, 2**50])
    def test_of_an_object_that_is_too_large_little_is_read(self, storage, limit):
        storage.put("a", b"0123456789")
        assert storage.get("a", limit) == b"0123456789"[: limit + 1]
        assert storage.get_tagged("a", limit)[0] == b"0123456789"[: limit + 1]

    @pytest.mark.parametrize("length", [0, 3, 10, 2**50])
    def test_the_tail_and_the_size(self, storage, length):
        storage.put("a", b"0123456789")
        tail = b"0123456789"[max(0, 10 - length) :]
        assert storage.get_tail("a", length) == (tail, 10)

    def test_touching_makes_young(self, storage):
        storage.put("a/b", b"x")
        before = storage.now()
        storage.touch("a/b")
        (found,) = storage.list()
        assert before - 1 < found.modified
        assert found.modified < storage.now() + 1
        assert storage.get("a/b") == b"x"
        with pytest.raises(ObjectNotFoundError):
            storage.touch("a/c")

    def test_missing_objects(self, storage):
        storage.put("a/b", b"")
        for key in ("x", "a", "a/b/c", "a/x"):
            asks = [storage.get, storage.get_tagged, storage.touch]
            asks += [storage.delete] if storage.locks else []  # S3 does not say
            for ask in asks:
                with pytest.raises(ObjectNotFoundError, match=repr(key)):
                    ask(key)
            with pytest.raises(ObjectNotFoundError):
                storage.get_ranges(key, [(0, 1)])
        assert storage.get("a/b") == b""

    @pytest.mark.parametrize("key", UNSAFE)
    def test_keys_that_might_lead_out_of_the_store_are_refused(self, storage, key):
        storage.put("b", b"")
        calls = [
            lambda: storage.get(key),
            lambda: storage.get_tagged(key),
            lambda: storage.get_ranges(key, [(0, 1)]),
            lambda: storage.put(key, b"evil"),
            lambda: storage.put_if_unchanged(key, b"evil", None),
            lambda: storage.delete(key),
        ]
        for call in calls:
            with pytest.raises(StorageError, match="cannot be the key"):
                call()
        assert list(storage.list()) == [StoredObject("b", 0)]

    def test_create_if_absent(self, storage):
        storage.put_if_unchanged("a/b", b"first", None)
        with pytest.raises(ConflictError, match="another writer"):
            storage.put_if_unchanged("a/b", b"second", None)
        assert storage.get("a/b") == b"first"

    def test_replace_if_unchanged(self, storage):
        storage.put("a", b"one")
        _, tag = storage.get_tagged("a")
        storage.put_if_unchanged("a", b"two", tag)
        assert storage.get("a") == b"two"
        with pytest.raises(ConflictError):
            storage.put_if_unchanged("a", b"three", tag)
        assert storage.get("a") == b"two"
        _, tag = storage.get_tagged("a")
        storage.delete("a")
        with pytest.raises(ConflictError):
            storage.put_if_unchanged("a", b"four", tag)
        assert not list(storage.list())

    def test_list(self, storage):
        assert list(storage.list()) == []
        contents = {"a": b"1", "b/c": b"22", "b/d/e": b"333", "bc": b""}
        for key, data in contents.items():
            storage.put(key, data)
        for prefix in ("", "a", "b", "b/", "b/d", "b/d/e", "x"):
            expected = {key: len(data) for key, data in contents.items() if key.startswith(prefix)}
            assert {found.key: found.size for found in storage.list(prefix)} == expected

    def test_what_is_deleted_is_gone_and_its_neighbours_stay(self, storage):
        for key in ("a/b/c", "a/b/d", "a/e"):
            storage.put(key, b"x")
        storage.delete("a/b/c")
        with pytest.raises(ObjectNotFoundError):
            storage.get("a/b/c")
        assert {found.key for found in storage.list()} == {"a/b/d", "a/e"}
        storage.delete("a/b/d")
        storage.put("a/b", b"a folder's name is free once the folder is empty")
        assert storage.get("a/b").startswith(b"a folder")

    def test_deleting_while_listing(self, storage):
        for number in range(20):
            storage.put(f"a/{number}", b"x")
        for found in list(storage.list()):
            storage.delete(found.key)
        assert not list(storage.list())

    def test_exclusive_is_reentrant(self, storage):
        with storage.exclusive(), storage.exclusive():
            storage.put("a", b"x")
            storage.put_if_unchanged("b", b"x", None)
        with storage.exclusive():
            assert storage.get("a") == b"x"

    def test_exclusive_ends_with_an_error(self, storage):
        with pytest.raises(ZeroDivisionError), storage.exclusive():
            raise ZeroDivisionError
        entered_by_another_thread(storage)

    def test_exclusive_excludes_other_threads_where_the_store_locks(self, storage):
        inside = threading.Event()

        def enter():
            with storage.exclusive():
                inside.set()

        with storage.exclusive():
            thread = threading.Thread(target=enter)
            thread.start()
            assert inside.wait(0.1) is not storage.locks
        thread.join()
        assert inside.is_set()

    def test_one_of_many_writers_wins(self, storage):
        outcomes = []

        def write(number):
            try:
                storage.put_if_unchanged("a", b"%d" % number, None)
                outcomes.append(number)
            except ConflictError:
                pass

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert storage.get("a") == b"%d" % outcomes[0]
        assert len(outcomes) == 1


def entered_by_another_thread(storage):
    def enter():
        with storage.exclusive():
            pass

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()


def count_up(root, times):
    storage = LocalStorage(root)
    for _ in range(times):
        while True:
            data, tag = storage.get_tagged("count")
            try:
                storage.put_if_unchanged("count", b"%d" % (int(data) + 1), tag)
                break
            except ConflictError:
                continue


class TestLocalStorage:
    @pytest.fixture
    def storage(self, tmp_path):
        return LocalStorage(tmp_path / "store")

    def test_two_stores_of_one_folder_exclude_each_other(self, storage, tmp_path):
        inside = threading.Event()

        def enter():
            with LocalStorage(tmp_path / "store").exclusive():
                inside.set()

        with storage.exclusive():
            thread = threading.Thread(target=enter)
            thread.start()
            assert not inside.wait(0.1)
        thread.join()

    def test_processes_exclude_each_other(self, storage, tmp_path):
        storage.put("count", b"0")
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=count_up, args=(tmp_path / "store", 25)) for _ in "ab"]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0, 0]
        assert storage.get("count") == b"50"

    def test_readers_see_the_old_object_or_the_new_one(self, storage):
        contents = [bytes([n]) * 300_000 for n in range(2)]
        storage.put("a", contents[0])
        stop = threading.Event()

        def write():
            for number in range(60):
                storage.put("a", contents[number % 2])
            stop.set()

        thread = threading.Thread(target=write)
        thread.start()
        while not stop.is_set():
            assert storage.get("a") in contents
            assert storage.get_ranges("a", [(0, 300_000)])[0] in contents
        thread.join()

    def test_a_failed_write_leaves_nothing(self, storage, monkeypatch):
        storage.put("a", b"old")

        def refuse(_descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", refuse)
        for key in ("a", "b/c"):
            with pytest.raises(StorageError, match=f"cannot write '{key}': No space left"):
                storage.put(key, b"new")
        monkeypatch.undo()
        assert list(storage.list()) == [StoredObject("a", 3)]
        assert storage.get("a") == b"old"

    def test_temporary_files_of_killed_writers_are_listed(self, storage, tmp_path):
        storage.put("a/b", b"x")
        (tmp_path / "store/a/b.tmp-0123").write_bytes(b"12")
        assert StoredObject("a/b.tmp-0123", 2) in storage.list()

    def test_touching_the_file_of_another_user(self, storage, monkeypatch):
        storage.put("a", b"x")

        def refuse(_file, **_how):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("os.utime", refuse)
        before = next(storage.list()).modified
        storage.touch("a")
        assert next(storage.list()).modified >= before
        assert storage.get("a") == b"x"

    def test_empty_folders_are_tidied_away(self, storage, tmp_path):
        storage.put("a/b", b"x")
        for folder in ("a/c/d", "a/e", "f/g", "h"):
            (tmp_path / "store" / folder).mkdir(parents=True)
        storage.tidy("a")
        assert {path.name for path in (tmp_path / "store").rglob("*")} == set("abfgh")
        storage.tidy("f")
        storage.tidy("never there")
        assert {path.name for path in (tmp_path / "store").rglob("*")} == set("abh")
        assert storage.get("a/b") == b"x"

    def test_deleting_removes_the_folders_it_empties(self, storage, tmp_path):
        storage.put("a/b/c", b"x")
        storage.delete("a/b/c")
        assert list((tmp_path / "store").iterdir()) == []

    def test_nothing_is_created_by_reading(self, tmp_path):
        storage = LocalStorage(tmp_path / "absent")
        assert list(storage.list()) == []
        with pytest.raises(ObjectNotFoundError):
            storage.get("a")
        assert not (tmp_path / "absent").exists()

    def test_a_folder_that_cannot_be_read_is_not_taken_for_empty(self, storage, monkeypatch):
        storage.put("a/b", b"x")

        def refuse(_folder):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("os.scandir", refuse)
        with pytest.raises(StorageError, match="cannot list the folder: Permission denied"):
            list(storage.list())

    @pytest.mark.parametrize("place", ["file", "file/below", "with\0nul"])
    def test_places_that_cannot_be_folders(self, tmp_path, place):
        (tmp_path / "file").write_bytes(b"")
        storage = LocalStorage(tmp_path / place)
        calls = [lambda: storage.put("a", b""), lambda: storage.put_if_unchanged("a", b"", None)]
        for call in calls:
            with pytest.raises(StorageError, match=r"cannot (write 'a'|lock the folder)"):
                call()

    def test_an_object_where_a_folder_must_be(self, storage):
        storage.put("a", b"x")
        with pytest.raises(StorageError, match="cannot write 'a/b'"):
            storage.put("a/b", b"y")
        storage.put("c/d", b"x")
        with pytest.raises(StorageError, match="cannot write 'c'"):
            storage.put("c", b"y")
        assert {found.key for found in storage.list()} == {"a", "c/d"}
