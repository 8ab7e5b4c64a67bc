"""Places as users name them: percent-encoded URLs, and stores with credentials of their own."""

import itertools
import os
import sys
from urllib.parse import quote

import banks
import fsspec
import obstore
import obstore.store
import pytest
import servers
import zarr.storage
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from safetensors.numpy import save_file

import tvbank
from tvbank.checkpoint import identify_checkpoint, open_checkpoint
from tvbank.errors import StorageError, UsageError
from tvbank.storage import LocalStorage, open_storage

#: Names of folders and files that a URL has to encode, or may.
NAMES = [
    "my models",
    "a#b",
    "a?b",
    "100%",
    "a%20b",
    "a+b",
    "größe-模型",
    "a&b=c;d,e",
    "[a]{b}~'",
    "a:b@c",
]

_numbers = itertools.count()


def encoded(name):
    """As a browser shows it, and with as much encoded as may be."""
    return {quote(name), quote(name, safe="")}


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_percent_encoded_over_http(name, tmp_path):
    folder = tmp_path / name
    folder.mkdir()
    expected = banks.all_numbers(banks.small_bank(folder / f"{name} bank"))
    tvbank.pack(folder / f"{name} bank", folder / f"{name}.zip")
    save_file(banks.base_model(), folder / f"{name}.safetensors")
    with servers.FileServer(tmp_path) as server:
        for one in encoded(name):
            place = f"{server.url}/{one}/{one}"
            assert banks.all_numbers(tvbank.open(f"{place}%20bank")) == expected
            assert banks.all_numbers(tvbank.open(f"{place}.zip")) == expected
            identify_checkpoint(f"{place}.safetensors")
            with open_checkpoint(f"{place}.safetensors") as checkpoint:
                assert set(checkpoint.tensors) == set(banks.base_model())


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_percent_encoded_in_s3(name, s3_port, tmp_path):
    unique = f"{next(_numbers)} {name}"
    banks.small_bank(tmp_path / "bank")
    tvbank.pack(tmp_path / "bank", tmp_path / "b.zip")
    save_file(banks.base_model(), tmp_path / "m.safetensors")
    with servers.environment(servers.s3_environment(s3_port)):
        there = obstore.store.S3Store("bucket", client_options={"allow_http": True})
        for file in ("b.zip", "m.safetensors"):
            obstore.put(there, f"{unique}/{name}-{file}", (tmp_path / file).read_bytes())
        for one in encoded(name):
            place = f"s3://bucket/{unique.partition(' ')[0]}%20{one}"
            assert tvbank.open(f"{place}/{one}-b.zip").verify() == []
            with open_checkpoint(f"{place}/{one}-m.safetensors") as checkpoint:
                assert set(checkpoint.tensors) == set(banks.base_model())
        bank = banks.small_bank(f"{place}/bank")
        assert bank.verify() == []
        found = {item["path"] for page in obstore.list(there, unique) for item in page}
        assert f"{unique}/bank/zarr.json" in found


@pytest.mark.parametrize(
    "name", ["..%2f..%2fx.zip", "%2e%2e.safetensors/x.safetensors", "a%00.zip"]
)
def test_encoded_names_lead_nowhere_else(name, tmp_path):
    with servers.FileServer(tmp_path) as server:
        use = open_checkpoint if name.endswith("tensors") else tvbank.open
        with pytest.raises(tvbank.TvbankError):
            use(f"{server.url}/{name}")
        assert not [seen for seen in server.requests if ".." in seen.path or "%00" in seen.path]


def test_a_url_that_lost_a_slash_is_told_so():
    for place in ("s3:/bucket/bank", "https:/host/bank", "HF:/a/b"):
        for use in (tvbank.open, open_checkpoint):
            with pytest.raises(UsageError, match="one slash where a URL has two"):
                use(place)


def s3_store(port, prefix):
    return obstore.store.S3Store(
        "bucket",
        prefix=prefix,
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id="k",
        secret_access_key="tvbankdummysecret",
        region="us-east-1",
        client_options={"allow_http": True},
    )


@pytest.fixture
def no_credentials(monkeypatch):
    """As if nobody had set up anything for AWS, and there were no metadata service."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", f"http://127.0.0.1:{servers.free_port()}")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")


class TestObstore:
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_a_store_with_credentials_of_its_own(self, wrapped, s3_port, no_credentials, tmp_path):
        store = s3_store(s3_port, f"own-{next(_numbers)}")
        place = zarr.storage.ObjectStore(store) if wrapped else store
        bank = banks.small_bank(place)
        assert bank.location == f"s3://bucket/{store.prefix}"
        expected = banks.all_numbers(banks.small_bank())
        assert banks.all_numbers(tvbank.open(place)) == expected
        tvbank.copy(place, tmp_path / "copied")
        other = s3_store(s3_port, f"own-{next(_numbers)}")
        tvbank.copy(tmp_path / "copied", other)
        tvbank.pack(other, tmp_path / "b.zip")
        assert banks.all_numbers(tvbank.open(tmp_path / "b.zip")) == expected
        opened = tvbank.open(other)
        opened.remove("lossy")
        opened.gc(grace=0)
        assert opened.verify() == []
        with pytest.raises(tvbank.errors.BankExistsError) as caught:
            banks.small_bank(place)
        assert "tvbankdummysecret" not in str(caught.value)

    def test_what_zarr_may_only_read(self, s3_port, no_credentials):
        store = s3_store(s3_port, f"own-{next(_numbers)}")
        banks.small_bank(store)
        opened = tvbank.open(zarr.storage.ObjectStore(store, read_only=True))
        with pytest.raises(StorageError, match="can only be read"):
            opened.remove("lossy")

    def test_memory_and_folders(self, tmp_path):
        memory = obstore.store.MemoryStore()
        banks.small_bank(memory)
        assert tvbank.open(memory).verify() == []
        local = obstore.store.LocalStore(tmp_path / "bank", mkdir=True)
        assert isinstance(open_storage(local), LocalStorage)
        banks.small_bank(local)
        assert tvbank.open(tmp_path / "bank").verify() == []
        assert tvbank.open(zarr.storage.LocalStore(tmp_path / "bank")).verify() == []

    def test_http(self, tmp_path):
        banks.small_bank(tmp_path / "bank")
        with servers.FileServer(tmp_path) as server:
            options = {"allow_http": True}
            store = obstore.store.HTTPStore(f"{server.url}/bank", client_options=options)
            opened = tvbank.open(store)
            assert opened.location == f"{server.url}/bank"
            with pytest.raises(StorageError, match="can only be read"):
                opened.remove("lossy")

    def test_a_provider_that_fails_says_why(self, s3_port):
        def provider():
            raise RuntimeError("run my-login first; token=tvbankdummysecret\nmore")

        store = obstore.store.S3Store("bucket", credential_provider=provider)
        with pytest.raises(
            StorageError, match=r"no usable credentials: run my-login first"
        ) as caught:
            tvbank.open(store)
        assert "tvbankdummysecret" not in str(caught.value)


class Recalled(MemoryFileSystem):
    """Returns exceptions instead of raising them, as some file systems of fsspec do."""

    protocol = "tvvalues"
    error = None

    def cat_file(self, path, start=None, end=None, **kwargs):
        return self.error or super().cat_file(path, start, end, **kwargs)

    def cat_ranges(self, paths, starts, ends, max_gap=None, on_error="return", **kwargs):
        return [self.cat_file(*place) for place in zip(paths, starts, ends, strict=True)]

    def size(self, path):
        return self.error or super().size(path)


class TestFsspec:
    def filled(self, files, root):
        for key, data in banks.contents(banks.small_bank().storage).items():
            files.pipe_file(f"{root}/{key}", data)

    @pytest.mark.parametrize("kind", ["mapper", "folder", "zarr"])
    def test_a_file_system_a_mapper_and_zarrs_store(self, kind, tmp_path):
        files = fsspec.filesystem("memory")
        root = f"/own-{next(_numbers)}/bank"
        self.filled(files, root)
        place = {
            "mapper": lambda: files.get_mapper(root),
            "folder": lambda: DirFileSystem(root, files),
            "zarr": lambda: zarr.storage.FsspecStore.from_url(f"memory:/{root}", read_only=True),
        }[kind]()
        expected = banks.all_numbers(banks.small_bank())
        assert banks.all_numbers(tvbank.open(place)) == expected
        assert tvbank.open(place).verify() == []
        tvbank.copy(place, tmp_path / "copied")
        tvbank.pack(place, tmp_path / "b.zip")
        assert banks.contents(open_storage(place)) == banks.contents(banks.small_bank().storage)
        with pytest.raises(StorageError, match="can only be read"):
            tvbank.open(place).remove("lossy")
        with pytest.raises(StorageError, match="can only be read"):
            banks.small_bank(place)

    def test_folders_of_this_machine_are_locked_as_folders_are(self, tmp_path):
        mapper = LocalFileSystem().get_mapper(str(tmp_path / "bank"))
        assert isinstance(open_storage(mapper), LocalStorage)
        assert banks.small_bank(mapper).verify() == []
        with pytest.raises(UsageError, match="give the bank's folder"):
            tvbank.open(LocalFileSystem())

    @pytest.mark.parametrize(
        ("error", "words"),
        [
            (FileNotFoundError("gone"), "no object|is not a bank"),
            (PermissionError("renew with `my login`; sig=tvdummysecret"), "renew with `my login`"),
            (RuntimeError("https://me:tv/dummysecret@host refuses"), "RuntimeError: https://host"),
            ("text", "returned a str where bytes|invalid literal"),
        ],
    )  # fmt: skip
    def test_errors_that_come_back_as_values_are_raised(self, error, words):
        files = Recalled()
        root = f"/own-{next(_numbers)}/bank"
        self.filled(files, root)
        storage = open_storage(files.get_mapper(root))
        files.error = error
        try:
            uses = [lambda: storage.get("zarr.json"), lambda: storage.get("zarr.json", 3),
                    lambda: storage.get_ranges("zarr.json", [(0, 3), (5, 9)]),
                    lambda: storage.get_tail("zarr.json", 5), lambda: storage.identify("zarr.json"),
                    lambda: tvbank.open(storage)]  # fmt: skip
            for use in uses:
                with pytest.raises(tvbank.TvbankError, match=words) as caught:
                    use()
                assert "dummysecret" not in str(caught.value)
        finally:
            files.error = None

    def test_a_file_system_that_answers_with_more(self):
        class More(MemoryFileSystem):
            def cat_file(self, path, start=None, end=None, **kwargs):
                return super().cat_file(path, start, None, **kwargs)

        files = More()
        files.pipe_file("/more/a", b"0123456789")
        storage = open_storage(files.get_mapper("/more"))
        assert storage.get("a", 3) == b"0123"
        assert storage.get_ranges("a", [(1, 3), (5, 9)]) == [b"12", b"5678"]


class TestAws:
    PROFILE = "[work]\naws_access_key_id = A\naws_secret_access_key = tvbankdummysecret\n"

    @pytest.fixture
    def profile(self, no_credentials, s3_port, monkeypatch, tmp_path):
        (tmp_path / "credentials").write_text(self.PROFILE)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_port}")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")

    def test_a_profile(self, profile, monkeypatch):
        monkeypatch.setenv("AWS_PROFILE", "work")
        place = f"s3://bucket/profile-{next(_numbers)}"
        bank = banks.small_bank(place)
        assert tvbank.open(place).verify() == []
        assert not any(b"tvbankdummysecret" in one for one in banks.contents(bank.storage).values())

    def test_region_and_endpoint_of_a_profile(self, profile, s3_port, monkeypatch, tmp_path):
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        (tmp_path / "config").write_text(
            f"[profile work]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:{s3_port}\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        storage = open_storage("s3://bucket/x")
        assert storage._store.config["region"] == "eu-west-3"
        storage.put("a", b"x")
        assert storage.get("a") == b"x"

    def test_the_default_profile(self, profile, tmp_path):
        text = self.PROFILE.replace("work", "default")
        (tmp_path / "credentials").write_text(text)
        assert banks.small_bank(f"s3://bucket/profile-{next(_numbers)}").verify() == []

    def test_a_profile_that_is_not_there(self, profile, monkeypatch):
        monkeypatch.setenv("AWS_PROFILE", "play")
        with pytest.raises(StorageError, match=r"profile.*\(play\).*AWS_PROFILE, ~/.aws/config"):
            tvbank.open("s3://bucket/bank")

    def test_an_sso_session_that_has_expired(self, profile, monkeypatch, tmp_path):
        (tmp_path / "config").write_text(
            "[profile sso]\nsso_start_url = https://x.example/start\nsso_region = us-east-1\n"
            "sso_account_id = 123456789012\nsso_role_name = r\nregion = us-east-1\n"
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_PROFILE", "sso")
        with pytest.raises(StorageError, match=r"no usable credentials: .*(SSO|sso)"):
            tvbank.open("s3://bucket/bank")

    def test_without_botocore(self, profile, monkeypatch):
        monkeypatch.setitem(sys.modules, "botocore.session", None)
        with pytest.raises(StorageError, match=r"no AWS credentials: .*tvbank\[aws\]"):
            tvbank.open("s3://bucket/bank")
        monkeypatch.setenv("AWS_PROFILE", "work")
        with pytest.raises(StorageError, match=r"'work'.*pip install 'tvbank\[aws\]'"):
            tvbank.open("s3://bucket/bank")
        keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
        with servers.environment(keys), pytest.raises(tvbank.errors.BankNotFoundError):
            tvbank.open("s3://bucket/nowhere")

    def test_nothing_at_all(self, no_credentials, monkeypatch):
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        with pytest.raises(StorageError, match="no AWS credentials: set AWS_ACCESS_KEY_ID"):
            tvbank.open("s3://bucket/bank")
