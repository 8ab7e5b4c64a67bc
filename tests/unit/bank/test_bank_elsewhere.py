"""Banks through fsspec, and in the sessions of an Icechunk repository."""

import banks
import fsspec
import icechunk
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tvbank
from tvbank.errors import BankNotFoundError, ConflictError, StorageError, UsageError
from tvbank.storage import MemoryStorage, open_storage


class Files(MemoryFileSystem):
    """A file system that is none of those that other parts of tvbank know."""

    protocol = "tvtest"
    store = {}  # noqa: RUF012 - as fsspec has it
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("tvtest://").strip("/")


@pytest.fixture
def files():
    fsspec.register_implementation("tvtest", Files, clobber=True)
    found = Files()
    found.store.clear()
    return found


@pytest.fixture
def bank(files):
    made = banks.small_bank()
    for key, data in banks.contents(made.storage).items():
        files.pipe_file(f"/place/bank/{key}", data)
    return made


class TestFsspec:
    def test_the_same_numbers(self, bank):
        opened = tvbank.open("tvtest://place/bank")
        assert opened.location == "tvtest://place/bank"
        assert banks.all_numbers(opened) == banks.all_numbers(bank)
        assert opened.verify() == []
        assert banks.contents(opened.storage) == banks.contents(bank.storage)

    def test_a_zip_file(self, bank, files, tmp_path):
        tvbank.pack(bank.storage, tmp_path / "bank.zip")
        files.pipe_file("/zips/bank.zip", (tmp_path / "bank.zip").read_bytes())
        assert banks.all_numbers(tvbank.open("tvtest://zips/bank.zip")) == banks.all_numbers(bank)

    def test_of_an_object_that_is_too_large_little_is_read(self, bank, files):
        files.pipe_file("/place/bank/a", b"0123456789")
        storage = open_storage("tvtest://place/bank")
        for limit in (0, 3, 9, 10, 2**40):
            assert storage.get("a", limit) == b"0123456789"[: limit + 1]
        assert storage.get_tail("a", 3) == (b"789", 10)
        assert storage.get_ranges("a", [(8, 20), (3, 3), (0, 2)]) == [b"89", b"", b"01"]

    def test_it_can_only_be_read(self, bank):
        opened = tvbank.open("tvtest://place/bank")
        storage = opened.storage
        for change in (
            lambda: opened.remove("lossy"), lambda: opened.gc(grace=0),
            lambda: storage.put("a", b""), lambda: storage.put_if_unchanged("a", b"", None),
            lambda: storage.delete("zarr.json"), lambda: banks.small_bank("tvtest://place/new"),
        ):  # fmt: skip
            with pytest.raises(StorageError, match="can only be read"):
                change()
        copied = MemoryStorage()
        tvbank.copy("tvtest://place/bank", copied)
        assert tvbank.open(copied).verify() == []

    def test_what_is_not_there(self, files):
        with pytest.raises(BankNotFoundError, match="tvtest://nowhere is not a bank"):
            tvbank.open("tvtest://nowhere")

    def test_errors_of_a_file_system_are_one_sentence_without_secrets(self, bank, monkeypatch):
        storage = open_storage("tvtest://place/bank")

        def fail(*_arguments, **_options):
            raise RuntimeError("GET https://me:tvsecret@host/x?sig=tvsecret failed\nand more")

        monkeypatch.setattr(Files, "cat_file", fail)
        with pytest.raises(StorageError, match=r"cannot read 'zarr.json': RuntimeError") as caught:
            tvbank.open(storage)
        assert "tvsecret" not in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__context__ is None


@pytest.fixture
def repository():
    return icechunk.Repository.create(icechunk.in_memory_storage())


class TestIcechunk:
    def test_a_bank_in_a_session(self, repository, tmp_path):
        session = repository.writable_session("main")
        bank = banks.small_bank(session.store)
        assert bank.location == "icechunk://main"
        local = banks.small_bank(tmp_path / "bank")
        assert banks.all_numbers(bank) == banks.all_numbers(local)
        assert banks.contents(bank.storage) == banks.contents(local.storage)
        assert bank.verify() == []

    def test_commits_and_tags_are_the_history(self, repository):
        session = repository.writable_session("main")
        bank = banks.small_bank(session.store)
        expected = banks.all_numbers(bank)
        repository.create_tag("two-tasks", session.commit("two tasks"))
        session = repository.writable_session("main")
        later = tvbank.open(session.store)
        later.remove("lossy")
        later.add("new", banks.fine_tune(6), tvbank.Exact(), base=banks.base_model())
        assert later.gc(grace=0).objects > 0
        session.commit("another")
        now = tvbank.open(repository.readonly_session("main").store)
        assert set(now) == {"exact", "new"}
        assert now.verify() == []
        then = tvbank.open(repository.readonly_session(tag="two-tasks").store)
        assert banks.all_numbers(then) == expected
        assert then.verify() == []
        with pytest.raises(StorageError, match="can only be read"):
            then.remove("lossy")

    def test_what_is_not_committed_is_seen_by_nobody_else(self, repository):
        banks.small_bank(repository.writable_session("main").store)
        with pytest.raises(BankNotFoundError):
            tvbank.open(repository.readonly_session("main").store)

    def test_copying_in_and_out(self, repository, tmp_path, s3):
        source = banks.small_bank()
        session = repository.writable_session("main")
        tvbank.copy(source.storage, session.store, ["lossy"])
        tvbank.copy(source.storage, s3)
        tvbank.copy(s3, session.store)
        tvbank.copy(session.store, tmp_path / "bank")
        assert banks.all_numbers(tvbank.open(tmp_path / "bank")) == banks.all_numbers(source)
        assert tvbank.open(session.store).verify() == []

    def test_the_store_keeps_to_its_interface(self, repository):
        storage = open_storage(repository.writable_session("main").store)
        banks.small_bank(storage)
        shard = next(found.key for found in storage.list() if "/delta/c/" in found.key)
        data = storage.get(shard)
        assert storage.get(shard, 3) == data[:4]
        assert storage.get_ranges(shard, [(2, 5), (1, 1)]) == [data[2:5], b""]
        with pytest.raises(ConflictError):
            storage.put_if_unchanged("zarr.json", b"{}", "another")
        for key in ("tasks/x/y", "a/zarr.json", "x"):
            with pytest.raises(tvbank.TvbankError, match=key):
                storage.get(key)


def test_what_is_no_place():
    for place in (3, None, object(), {}):
        with pytest.raises(UsageError, match="no place of a bank"):
            tvbank.open(place)
