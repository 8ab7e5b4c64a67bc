"""Banks in an object store and behind HTTP: as on a disk, in few requests, and without secrets."""

import multiprocessing
import os
import pickle
import subprocess
import sys
import traceback

import banks
import numpy as np
import obstore
import obstore.exceptions
import obstore.store
import pytest
import servers

import tvbank
from tvbank.errors import StorageError, UsageError
from tvbank.storage import LocalStorage, open_storage


@pytest.fixture
def web(tmp_path):
    """A small bank in a folder, served over HTTP."""
    banks.small_bank(tmp_path / "bank")
    with servers.FileServer(tmp_path) as server:
        yield server


def test_a_bank_in_s3_is_the_bank_on_a_disk(s3, tmp_path):
    remote, local = banks.small_bank(s3), banks.small_bank(tmp_path / "bank")
    assert banks.contents(remote.storage) == banks.contents(local.storage)
    opened = tvbank.open(s3 + "/")
    assert opened.location == s3
    assert banks.all_numbers(opened) == banks.all_numbers(local)
    assert opened.verify() == []
    opened.remove("lossy")
    report = opened.gc()
    assert report.objects == 0
    assert report.kept_objects > 0
    assert opened.gc(grace=0).objects == report.kept_objects
    assert opened.verify() == []
    local.remove("lossy")
    local.gc(grace=0)
    assert banks.contents(opened.storage) == banks.contents(local.storage)


def test_a_store_that_counts_ranges_from_the_start_only():
    """Azure's has no suffix ranges: the end of an object takes a request more."""

    class FromTheStart:
        def __getattr__(self, name):
            return getattr(obstore, name)

        def get(self, store, key, options=None):
            if options and "suffix" in options.get("range", {}):
                raise obstore.exceptions.NotSupportedError("suffix")
            return obstore.get(store, key, options=options)

    storage = open_storage("s3://none/bank")
    storage._obstore, storage._store = FromTheStart(), obstore.store.MemoryStore()
    storage.put("a", b"hello")
    storage.put("empty", b"")
    assert storage.get_tail("a", 2) == (b"lo", 5)
    assert storage.get_tail("a", 9) == (b"hello", 5)
    assert storage.get_tail("empty", 3) == (b"", 0)
    size, tag = storage.identify("a")
    storage.put("a", b"hullo")
    assert size == 5
    assert storage.identify("a")[1] != tag


def test_a_bank_is_made_once_in_a_place(s3):
    banks.small_bank(s3)
    with pytest.raises(tvbank.errors.BankExistsError):
        banks.small_bank(s3)
    with pytest.raises(tvbank.errors.BankNotFoundError, match=f"{s3}x is not a bank"):
        tvbank.open(s3 + "x")


def test_two_makers_of_one_bank(s3):
    storage = open_storage(s3)
    storage.put("base/zarr.json", b"of another")
    with pytest.raises(tvbank.errors.BankExistsError, match=r"base/zarr\.json"):
        tvbank.create(s3, base=banks.base_model(), chunk_length=8)
    assert storage.get("base/zarr.json") == b"of another"
    storage.delete("base/zarr.json")
    made = tvbank.create(s3, base=banks.base_model(), chunk_length=8)
    storage.delete("zarr.json")  # as if the maker had been killed
    assert tvbank.create(s3, base=banks.base_model(), chunk_length=8).layout == made.layout


def test_a_bank_behind_http(web):
    bank = tvbank.open(f"{web.url}/bank")
    assert len(web.requests) == 2
    assert banks.all_numbers(bank)
    assert bank.verify() == []
    assert {seen.method for seen in web.requests} == {"GET"}
    changes = [
        lambda: bank.remove("lossy"),
        lambda: bank.gc(grace=0),
        lambda: bank.add("new", banks.fine_tune(1), base=banks.base_model()),
        lambda: banks.small_bank(f"{web.url}/new"),
    ]
    for change in changes:
        with pytest.raises(StorageError, match="can only be read"):
            change()
    assert {seen.method for seen in web.requests} == {"GET"}


def test_a_server_without_ranges(tmp_path):
    banks.small_bank(tmp_path / "bank")
    with servers.FileServer(tmp_path, ranges=False) as server:
        bank = tvbank.open(f"{server.url}/bank")
        with pytest.raises(StorageError, match="does not answer requests for ranges"):
            bank["lossy"]["half"].to_dense()


def test_nginx(tmp_path):
    expected = banks.all_numbers(banks.small_bank(tmp_path / "bank"))
    (tmp_path / "work").mkdir()
    with servers.nginx(tmp_path, tmp_path / "work") as url:
        if url is not None:
            bank = tvbank.open(f"{url}/bank")
            assert banks.all_numbers(bank) == expected
            assert bank.verify() == []
            with pytest.raises(tvbank.errors.BankNotFoundError):
                tvbank.open(f"{url}/work")


#: One unit fills several shards of a few hundred bytes, others share one.
BASE = {
    "a": np.zeros(40, np.float32),
    "wide": np.zeros((30, 100), np.float32),
    "b": np.zeros((20, 3), np.float16),
}


@pytest.mark.parametrize("kind", ["s3", "http"])
def test_requests_and_bytes_counted_at_the_server(kind, s3_port, tmp_path):
    place = tmp_path / "bank" if kind == "http" else "s3://bucket/counted"
    rng = np.random.default_rng(3)
    tuned = {k: rng.standard_normal(v.shape).astype(v.dtype) for k, v in BASE.items()}
    with servers.environment(servers.s3_environment(s3_port)):
        bank = tvbank.create(place, base=BASE, chunk_length=1)
        bank.add("t", tuned, tvbank.Exact())
    server = servers.FileServer(tmp_path) if kind == "http" else servers.Proxy(s3_port)
    with server, servers.environment(servers.s3_environment(server.port)):
        bank = tvbank.open(f"{server.url}/bank" if kind == "http" else place)
        assert len(server.requests) == 2
        server.requests.clear()
        unit = bank["t"]["a"]
        assert unit.to_dense().any()
        assert len(server.requests) == 2
        own = sum(len(frame.data) + 4 for frame in bank["t"].frames("a"))
        assert sum(seen.bytes for seen in server.requests[:2]) < own + 65536
        server.requests.clear()
        assert (bank["t"]["wide"].to_dense() != 0).any()
        touched = {seen.path for seen in server.requests}
        assert len(touched) > 8
        assert len(server.requests) == 2 * len(touched)
        server.requests.clear()
        bank["t"].to_dense()
        assert len(server.requests) == bank.layout.shard_count
        assert {seen.method for seen in server.requests} == {"GET"}
        assert not [seen for seen in server.requests if "list-type" in seen.path]
        total = sum(seen.bytes for seen in server.requests)
        assert total == sum(record.size for record in bank._catalog.tasks["t"].shards if record)


def test_ranges_that_are_near_come_in_one_request_and_others_at_once(s3_port):
    with (
        servers.Proxy(s3_port) as proxy,
        servers.environment(servers.s3_environment(proxy.port)),
    ):
        storage = open_storage("s3://bucket/ranges")
        data = os.urandom(200_000)
        storage.put("a", data)
        proxy.requests.clear()
        ranges = [(0, 100), (150, 300), (300, 400), (100_000, 100_010)]
        assert storage.get_ranges("a", ranges) == [data[slice(*place)] for place in ranges]
        assert sorted(seen.range for seen in proxy.requests) == [
            "bytes=0-399",
            "bytes=100000-100009",
        ]


BAD_URLS = [
    "s3://user:tvbankdummysecret@bucket/bank",
    "https://tvbankdummysecret@host/bank",
    "https://host/bank?sig=tvbankdummysecret",
    "https://host/bank#tvbankdummysecret",
    "az://container/bank?sv=1&sig=tvbankdummysecret",
    "ftp://someone:tvbankdummysecret@host/bank",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_urls_with_credentials_are_refused_and_not_shown(url, capfd):
    with pytest.raises(UsageError, match="client") as caught:
        tvbank.open(url)
    told = "".join(traceback.format_exception(caught.value)) + str(vars(caught.value))
    assert "tvbankdummysecret" not in told
    assert "tvbankdummysecret" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("url", ["nonsense://x/y", "s3://", "gs://", "://x"])
def test_urls_of_no_store(url):
    with pytest.raises((UsageError, StorageError)):
        tvbank.open(url)


def test_an_account_that_is_not_known(monkeypatch):
    monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(UsageError, match=r"az://box/bank .*AZURE_STORAGE_ACCOUNT_NAME"):
        tvbank.open("az://box/bank")


FAULTS = ["403", "404", "500", "429", "reset", "torn", "hang"]


@pytest.mark.parametrize("fault", FAULTS)
def test_no_credentials_in_errors_banks_or_logs(fault, s3_port, capfd, monkeypatch):
    from tvbank.storage.objects import ObjectStorage

    monkeypatch.setattr("tvbank.storage.objects._TRIES", 2)
    with (
        servers.Proxy(s3_port) as proxy,
        servers.environment(servers.s3_environment(proxy.port)),
    ):
        storage = ObjectStorage(
            f"s3://bucket/secret-{fault}", {"max_retries": 0}, {"timeout": "200ms"}
        )
        banks.small_bank(storage)
        stored = b"".join(banks.contents(storage).values())
        proxy.plan = lambda *_request: fault
        calls = [
            lambda: tvbank.open(storage),
            lambda: storage.put("a", b""),
            lambda: storage.put_if_unchanged("zarr.json", b"x", '{"e_tag":"\\"0\\""}'),
            lambda: list(storage.list()),
        ]
        for call in calls[: 1 if fault == "torn" else None]:  # there is no body to tear of others
            with pytest.raises(tvbank.TvbankError) as caught:
                call()
            error = caught.value
            told = [str(error), repr(error), str(vars(error)), str(pickle.dumps(error))]
            while error is not None:
                told.append(str(error))
                error = error.__cause__ or error.__context__
            for secret in servers.SECRETS:
                assert not [text for text in told if secret in text.lower()]
            assert "\n" not in str(caught.value)
        for secret in servers.SECRETS:
            assert secret.encode() not in stored.lower()
            assert secret not in "".join(capfd.readouterr()).lower()


def test_memory_urls_name_one_store_in_this_process():
    made = banks.small_bank("memory://a/b")
    assert banks.all_numbers(tvbank.open("memory://a/b/")) == banks.all_numbers(made)
    with pytest.raises(tvbank.errors.BankNotFoundError):
        tvbank.open("memory://a")


def test_file_urls(tmp_path):
    banks.small_bank(tmp_path / "a bank")
    opened = tvbank.open((tmp_path / "a bank").as_uri())
    assert isinstance(opened.storage, LocalStorage)
    assert opened.verify() == []


def test_a_local_bank_imports_no_client(tmp_path):
    banks.small_bank(tmp_path / "bank")
    script = (
        "import sys, tvbank\n"
        f"sys.argv = ['tvbank', 'ls', {str(tmp_path / 'bank')!r}]\n"
        "from tvbank.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "assert not {'obstore', 'fsspec', 'icechunk'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


FORK = """
import os, sys
sys.path.insert(0, sys.argv[2])
import tvbank
bank = tvbank.open(sys.argv[1])
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for use in (lambda: bank["lossy"]["half"].to_dense(), lambda: tvbank.open(sys.argv[1])):
    try:
        use()
    except tvbank.errors.StorageError as error:
        assert "forked" in str(error) and "spawn" in str(error)
    else:
        os._exit(1)
os._exit(0)
"""


def test_a_forked_child_is_told_and_does_not_hang(web):
    command = [sys.executable, "-c", FORK, f"{web.url}/bank", os.path.dirname(banks.__file__)]
    subprocess.run(command, check=True, timeout=30)


def test_a_spawned_child_reads(web):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(listed, (f"{web.url}/bank",)) == ["exact", "lossy"]


def listed(url):
    return list(tvbank.open(url))
