"""The directory of a zip file: what is accepted is what Python's ``zipfile`` sees, and harmless.

Objects lie within the file, apart from each other, under names that lead nowhere else.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Iterator

from tools.fuzz._agreement import attempt
from tools.fuzz._mutate import mutate_bytes
from tvbank.errors import CorruptionError
from tvbank.storage import MemoryStorage, ObjectNotFoundError
from tvbank.storage.zipped import END_BYTES, ZipStorage, directory_place, parse_directory

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_EDGES = (0, 1, 2, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF, 30, 46, 8, 20)


def _packed(*objects: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in objects:
            packed.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def _parts(data: bytes) -> tuple[bytes, bytes] | None:
    """Objects and directory of a file that ends in an end record."""
    end = data[-_END.size :]
    if len(end) < _END.size or not end.startswith(b"PK\5\6"):
        return None
    _, _, _, _, _, length, start, _ = _END.unpack(end)
    if start == 0xFFFFFFFF and len(data) >= END_BYTES:
        *_, length, start = _END64.unpack(data[-END_BYTES : -END_BYTES + _END64.size])
    if start + length > len(data):
        return None
    return data[:start], data[start : start + length]


def _joined(objects: bytes, directory: bytes, count: int, large: bool) -> bytes:
    """A file with an end record, of the small kind or of zip64's."""
    start, length = len(objects), len(directory)
    end = _END.pack(b"PK\5\6", 0, 0, count % 65536, count % 65536, length, start, 0)
    if large:
        at = start + length
        numbers = (44, 45, 45, 0, 0, count, count, length, start)
        end64 = _END64.pack(b"PK\6\6", *numbers)
        locator = _LOCATOR.pack(b"PK\6\7", 0, at, 1)
        end = (
            end64 + locator + _END.pack(b"PK\5\6", 0, 0, *(2 * (0xFFFF,)), *(2 * (0xFFFFFFFF,)), 0)
        )
    return objects + directory + end


def seeds() -> Iterator[bytes]:
    several = [("a", b"1"), ("folder/", b""), ("folder/b", b""), ("zarr.json", b"{}" * 20)]
    for count in range(len(several) + 1):
        data = _packed(*several[:count])
        yield data
        objects, directory = _parts(data) or (b"", b"")
        yield _joined(objects, directory, count, large=True)
    yield _packed(("../a", b"1"))
    yield _packed(("é/b", b"1"), ("c:d", b"2"))
    yield _packed(("a", b"1")) + b"trailing"


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """Change the directory or an entry's fields, and let the end record fit again, mostly."""
    dice = random.Random(seed)
    parts = _parts(data)
    if parts is None or dice.random() < 0.2:
        return mutate_bytes(data or b"\0", max_size)
    objects, directory = parts
    places = [at for at in range(len(directory)) if directory.startswith(b"PK\1\2", at)]
    if not places or dice.random() < 0.3:
        directory = mutate_bytes(directory or b"PK\1\2", max_size)
    else:
        at = dice.choice(places)
        if len(directory) - at >= _ENTRY.size:
            fields = list(_ENTRY.unpack_from(directory, at))
            for _ in range(dice.choice((1, 1, 2))):
                which = dice.randrange(1, len(fields))
                near = fields[which] + dice.choice((-1, 1))
                most = 0xFFFFFFFF if which in (7, 8, 9, 15, 16) else 0xFFFF
                fields[which] = max(0, dice.choice((near, *_EDGES))) & most
            directory = directory[:at] + _ENTRY.pack(*fields) + directory[at + _ENTRY.size :]
        if dice.random() < 0.3:
            stop = dice.choice([*places, len(directory)])
            directory = directory[:stop] + directory[at:stop] + directory[stop:]
    if dice.random() < 0.2:
        objects = mutate_bytes(objects or b"\0", max_size)
    count = directory.count(b"PK\1\2") + (dice.random() < 0.1)
    return _joined(objects, directory, count, dice.random() < 0.4)[:max_size]


def _read(data: bytes) -> dict[str, tuple[int, int]]:
    start, stop, count = directory_place(data[-END_BYTES:], len(data), "zip", "zip")
    assert 0 <= start <= stop <= len(data)
    return parse_directory(data[start:stop], start, count, "zip", "zip")


def check(data: bytes) -> None:
    found = attempt(lambda: _read(data))
    inner = MemoryStorage()
    inner.put("bank.zip", data)
    storage = ZipStorage(inner, "bank.zip")
    listed = attempt(lambda: sorted(each.key for each in storage.list()))
    assert found.reason == listed.reason, (found, listed)
    if found.reason is not None:
        assert found.reason == "zip"
        return
    assert listed.read == sorted(found.read)
    after = 0
    for name, (start, stop) in sorted(found.read.items(), key=lambda item: item[1]):
        assert after <= start <= stop <= len(data), "objects overlap or leave the file"
        after = stop
        assert not name.startswith("/")
        assert not {"", ".", ".."} & set(name.split("/"))
        assert "\\" not in name
        assert storage.get(name) == data[start:stop]
        assert storage.get_ranges(name, [(0, 3), (1, 10**6)]) == [
            data[start:stop][:3], data[start:stop][1:]
        ]  # fmt: skip
    for name in ("zarr.json", "no such object"):
        try:
            storage.get(name)
        except (ObjectNotFoundError, CorruptionError):
            continue
    _compare(data, found.read)


def _compare(data: bytes, found: dict[str, tuple[int, int]]) -> None:
    """Python's own reader, where it takes the file, sees the same objects."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            # Names are UTF-8 in a bank's file, whether bit 11 says so or not.
            theirs = {
                each.orig_filename.encode("utf-8" if each.flag_bits & 0x800 else "cp437").decode():
                each.file_size for each in packed.infolist()
            }  # fmt: skip
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, OverflowError):
        return
    sizes = {name: stop - start for name, (start, stop) in found.items()}
    assert {name: size for name, size in theirs.items() if not name.endswith("/")} == sizes
