"""A bank in one zip file: the same numbers in as few requests; hostile files are refused."""

import io
import random
import stat
import struct
import zipfile

import banks
import pytest
import servers

import tvbank
from tvbank.errors import (
    BankExistsError,
    BankNotFoundError,
    CorruptionError,
    StorageError,
    TaskNotFoundError,
    UsageError,
)
from tvbank.storage import MemoryStorage, open_storage
from tvbank.storage import zipped as zipped_module
from tvbank.storage.zipped import ZipStorage


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return banks.small_bank(tmp_path_factory.mktemp("zip") / "bank")


@pytest.fixture(scope="module")
def packed(bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("packed") / "bank.zip"
    tvbank.pack(bank.location, path)
    return path


def test_the_same_numbers_come_out(bank, packed):
    opened = tvbank.open(packed)
    assert opened.location == str(packed)
    assert opened.generation == bank.generation
    assert banks.all_numbers(opened) == banks.all_numbers(bank)
    assert opened.verify() == []
    assert banks.contents(opened.storage) == banks.contents(bank.storage)
    assert zipfile.ZipFile(packed).testzip() is None


def test_the_same_bank_packs_to_the_same_bytes(bank, packed, tmp_path):
    report = tvbank.pack(bank.storage, tmp_path / "again.ZIP")
    assert (tmp_path / "again.ZIP").read_bytes() == packed.read_bytes()
    assert report.bytes == packed.stat().st_size
    assert report.tasks == ("exact", "lossy")
    assert tvbank.open(tmp_path / "again.ZIP").verify() == []


def test_some_tasks_only(bank, tmp_path):
    tvbank.pack(bank.storage, tmp_path / "one.zip", ["lossy"])
    opened = tvbank.open(tmp_path / "one.zip")
    assert banks.all_numbers(opened) == {"lossy": banks.numbers(bank["lossy"])}
    assert opened.verify() == []
    with pytest.raises(TaskNotFoundError, match="no task 'dogs'; it has 'exact', 'lossy'"):
        tvbank.pack(bank.storage, tmp_path / "two.zip", ["dogs"])
    assert not (tmp_path / "two.zip").exists()


def test_a_bank_without_tasks(tmp_path):
    empty = tvbank.create(MemoryStorage(), base=banks.base_model())
    tvbank.pack(empty.storage, tmp_path / "empty.zip")
    assert tvbank.open(tmp_path / "empty.zip").verify() == []


def test_what_cannot_be_written(bank, packed, tmp_path):
    with pytest.raises(UsageError, match=r"\.zip"):
        tvbank.pack(bank.storage, tmp_path / "bank.tar")
    with pytest.raises(BankExistsError):
        tvbank.pack(bank.storage, packed)
    tvbank.pack(bank.storage, packed, replace=True)
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(BankExistsError):
        tvbank.pack(bank.storage, tmp_path / "folder.zip", replace=True)
    with pytest.raises(StorageError, match="cannot write"):
        tvbank.pack(bank.storage, tmp_path / "nowhere" / "bank.zip")
    opened = tvbank.open(packed)
    for change in (
        lambda: opened.remove("lossy"), lambda: opened.gc(grace=0),
        lambda: banks.small_bank(packed), lambda: opened.storage.put("a", b""),
        lambda: opened.storage.delete("zarr.json"),
        lambda: opened.add("new", banks.fine_tune(1), base=banks.base_model()),
    ):  # fmt: skip
        with pytest.raises(StorageError, match="can only be read"):
            change()


def test_a_damaged_bank_is_not_packed(bank, tmp_path):
    objects = banks.contents(bank.storage)
    shard = next(key for key in objects if "/delta/c/" in key)
    objects[shard] = objects[shard][:-1] + b"?"
    with pytest.raises(CorruptionError, match="damaged"):
        tvbank.pack(banks.store(objects), tmp_path / "bank.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_that_name_is_a_folder(tmp_path):
    (tmp_path / "bank.zip").mkdir()
    assert banks.small_bank(tmp_path / "bank.zip").verify() == []
    with pytest.raises(BankNotFoundError, match="not a bank"):
        tvbank.open(tmp_path / "absent.zip")


@pytest.mark.parametrize("tail", [100, 3000, 2**18])
def test_few_requests_over_http(packed, bank, tail, monkeypatch):
    monkeypatch.setattr(zipped_module, "_TAIL", tail)
    with servers.FileServer(packed.parent) as server:
        opened = tvbank.open(f"{server.url}/bank.zip")
        assert len(server.requests) <= 2
        server.requests.clear()
        assert banks.all_numbers(opened) == banks.all_numbers(bank)


def test_a_unit_in_a_large_file_takes_two_more_requests(packed, bank, monkeypatch):
    monkeypatch.setattr(zipped_module, "_TAIL", 4000)
    monkeypatch.setattr(zipped_module, "_LEAD", 100)
    inner = MemoryStorage()
    inner.put("bank.zip", packed.read_bytes())
    counting = banks.CountingStorage(inner)
    counting.get_tail = lambda key, length: (inner.get(key)[-length:], len(inner.get(key)))
    opened = tvbank.open(ZipStorage(counting, "bank.zip"))
    counting.reset()
    assert opened["lossy"]["half"].to_dense().any()
    assert counting.calls["get"] <= 2


def test_in_s3(packed, bank, s3):
    open_storage(s3).put("bank.zip", packed.read_bytes())
    opened = tvbank.open(f"{s3}/bank.zip")
    assert opened.location == f"{s3}/bank.zip"
    assert banks.all_numbers(opened) == banks.all_numbers(bank)


def test_files_of_other_tools_that_store(bank, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.mkdir("tasks")
        for key, data in banks.contents(bank.storage).items():
            entry = zipfile.ZipInfo(key)
            entry.extra = b"UT\x05\x00\x03abcd"
            archive.writestr(entry, data)
    assert tvbank.open(tmp_path / "other.zip").verify() == []


def storage_of(data):
    inner = MemoryStorage()
    inner.put("x.zip", bytes(data))
    return ZipStorage(inner, "x.zip")


def archive(*entries, **options):
    """A zip file of names and contents, with zipfile's options."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as made:
        for entry, data in entries:
            made.writestr(entry, data)
    return bytearray(file.getvalue())


def entry(name, **attributes):
    info = zipfile.ZipInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def overlapping():
    """Both entries of the directory say that they lie where the second one does."""
    data = archive(("a", b"x" * 50), ("b", b"x" * 50))
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    data[first + 42 : first + 46] = data[second + 42 : second + 46]
    return data


def sized(size, at=24):
    """An entry that claims another size."""
    data = archive(("a", b"x" * 50))
    first = data.index(b"PK\1\2")
    for place in (20, 24) if at == 24 else (at,):
        data[first + place : first + place + 4] = struct.pack("<I", size)
    return data


def flagged(bits):
    data = archive(("a", b"x"))
    data[data.index(b"PK\1\2") + 8] = bits
    return data


def bomb():
    return archive(("zarr.json", bytes(10**6)), compression=zipfile.ZIP_DEFLATED)


def counted(count):
    data = archive(("a", b"x"))
    data[-14:-10] = struct.pack("<2H", count, count)
    return data


def renamed(name):
    raw = name.encode("latin-1")
    data = archive(("b" * len(raw), b"x"))
    return data.replace(b"b" * len(raw), raw)


HOSTILE = {
    "nothing": b"",
    "a text": b"x" * 100,
    "cut": archive(("a", b"x"))[:-1],
    "longer": archive(("a", b"x")) + b"x",
    "a comment": archive(("a", b"x"))[:-2] + b"\1\0x",
    "bytes in front": b"#!" + archive(("a", b"x")),
    "twice": archive(("a", b"x"), ("b", b"y")).replace(b"b", b"a"),
    "overlap": overlapping(),
    "too large": sized(2**31),
    "larger": sized(51),
    "sizes differ": sized(49, 20),
    "bomb": bomb(),
    "encrypted": flagged(1),
    "a descriptor": flagged(8),
    "a link": archive((entry("a", create_system=3, external_attr=(stat.S_IFLNK | 0o777) << 16),
                       b"/etc/passwd")),
    "more entries": counted(2),
    "fewer entries": counted(0),
    "zip64 without": sized(0xFFFFFFFF),
    "half a locator": b"PK\6\7" + bytes(15) + archive(),
    "a locator alone": b"PK\6\7" + bytes(12) + struct.pack("<I", 1) + archive(),
    "slip": renamed("../../x"),
    "absolute": renamed("/etc/passwd"),
    "a drive": renamed("c:/x"),
    "backslashes": renamed("..\\x"),
    "a dot": renamed("a/./b"),
    "doubled slash": renamed("a//b"),
    "a NUL": renamed("a\0b"),
    "a control character": renamed("a\nb"),
    "not UTF-8": renamed("a\xff"),
}  # fmt: skip


@pytest.mark.parametrize("how", HOSTILE)
def test_hostile_files(how):
    storage = storage_of(HOSTILE[how])
    uses = [lambda: storage.get("a"), lambda: list(storage.list()), lambda: tvbank.open(storage)]
    for use in uses:
        with pytest.raises(CorruptionError) as caught:
            use()
        assert caught.value.reason == "zip"
        assert "\n" not in str(caught.value)


def test_every_byte_of_directory_and_end_changed_gives_no_wrong_number(packed, bank):
    """The right numbers or an error; what no bank needs of a directory may change, too."""
    expected = banks.all_numbers(bank)
    sound = packed.read_bytes()
    dice = random.Random(1)
    start = sound.index(b"PK\1\2")
    for at in dice.sample(range(start, len(sound)), 150):
        data = bytearray(sound)
        data[at] ^= 1 << dice.randrange(8)
        try:
            found = banks.all_numbers(tvbank.open(storage_of(data)))
        except tvbank.TvbankError:
            continue
        assert found == expected


def test_zip64(bank, monkeypatch, tmp_path):
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    tvbank.pack(bank.storage, tmp_path / "large.zip")
    assert b"PK\6\6" in (tmp_path / "large.zip").read_bytes()
    opened = tvbank.open(tmp_path / "large.zip")
    assert opened.verify() == []
    assert banks.all_numbers(opened) == banks.all_numbers(bank)
