"""A store in one zip file, on a disk or wherever else another store can read it by ranges.

The directory of the file is read more strictly than zip tools do, so that there is one way to read
a file (spec/container.md, "A bank in one zip file"): objects are stored, not compressed, and
together with their headers fill the file from its first byte to the directory, without holes or
overlaps.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn, final

from tvbank.errors import CorruptionError, StorageError
from tvbank.storage._forks import renewed_in_children
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    ReadOnlyStorage,
    Storage,
    StoredObject,
    key_parts,
)

#: Bytes at the end of the file that are fetched first: `pack` puts directory and documents there.
_TAIL = 2**18

#: The documents that opening a bank reads.
_DOCUMENTS = ("zarr.json", "base/zarr.json")

#: Bytes before a larger directory that are fetched with it.
_LEAD = 2**21

#: Bytes of documents before the end that was fetched, for which a second request is worth it.
_MOST = 2**24


@final
class ZipStorage(ReadOnlyStorage):
    """The objects of a zip file, read only.

    What is fetched of its end to find the directory is kept: of a file that ``pack`` made it holds
    the documents that opening the bank reads.
    """

    def __init__(self, inner: Storage, name: str, location: str | None = None) -> None:
        """Name the file; nothing is read yet.

        Args:
            inner: the store that holds the file.
            name: its key there.
            location: how a user names it, where that differs.
        """
        self._inner, self._name = inner, name
        self.location = f"{inner.location}/{name}" if location is None else location
        self.parallel = inner.parallel
        self._lock = renewed_in_children(self)
        self._places: dict[str, ByteRange] | None = None
        self._tail, self._tail_at = b"", 0

    def __reduce__(self) -> tuple[object, ...]:
        return ZipStorage, (self._inner, self._name, self.location)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        start, stop = self._find(key)
        return self._read([(start, stop if limit is None else min(stop, start + limit + 1))])[0]

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        first, last = self._find(key)
        return self._read(
            [(min(last, first + start), min(last, first + stop)) for start, stop in ranges]
        )

    def _find(self, key: str) -> ByteRange:
        key_parts(key, self.location)
        try:
            return self._directory()[key]
        except KeyError:
            raise ObjectNotFoundError(f"{self.location}: no object {key!r}") from None

    def _directory(self) -> dict[str, ByteRange]:
        with self._lock:
            if self._places is None:
                tail, size = self._inner.get_tail(self._name, _TAIL)
                at = size - len(tail)
                start, stop, count = directory_place(
                    tail[-END_BYTES:], size, self.location, self._name
                )
                if start < at:
                    first = max(0, start - _LEAD)
                    tail = self._inner.get_ranges(self._name, [(first, at)])[0] + tail
                    at = first
                places = parse_directory(
                    tail[start - at : stop - at], start, count, self.location, self._name
                )
                first = min((places[key][0] for key in _DOCUMENTS if key in places), default=at)
                if at - _MOST <= first < at == size - _TAIL:  # nothing else was fetched yet
                    tail = self._inner.get_ranges(self._name, [(first, at)])[0] + tail
                    at = first
                self._places, self._tail, self._tail_at = places, tail, at
            return self._places

    def _read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Ranges of the file: from what is kept of its end, or from the store."""
        far = [(start, stop) for start, stop in ranges if start < min(stop, self._tail_at)]
        fetched = iter(self._inner.get_ranges(self._name, far) if far else [])
        at = self._tail_at
        return [
            next(fetched) if start < min(stop, at) else self._tail[max(0, start - at) : stop - at]
            for start, stop in ranges
        ]

    def local_path(self, key: str) -> Path | None:
        """See ``Storage.local_path``: that of the zip file."""
        return self._inner.local_path(self._name)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        for key, (start, stop) in self._directory().items():
            if key.startswith(prefix):
                yield StoredObject(key, stop - start)


#: Bytes of a file's end that hold the end record, zip64's record and locator.
END_BYTES = 22 + 20 + 56

#: Bytes that a directory may have: some 300,000 objects of a bank.
MAX_DIRECTORY_BYTES = 64 * 2**20

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_HEADER_BYTES = 30
_UNIX = 3
_LARGE = 0xFFFFFFFF

#: Flags that may be set: bits 1 and 2 say nothing of stored objects, bit 11 that names are UTF-8.
_FLAGS = 0x0806


class _Zip:
    """Where faults are found, for their messages."""

    def __init__(self, location: str, key: str) -> None:
        self.location, self.key = location, key

    def refuse(self, what: str) -> NoReturn:
        raise CorruptionError(
            "zip",
            f"{self.location}: {what}; fetch it again, or make it anew: a bank by `tvbank pack`, "
            "an update by `tvbank diff`",
            key=self.key,
        )


def directory_place(tail: bytes, size: int, location: str, key: str) -> tuple[int, int, int]:
    """Start and stop of the directory in the file, and its number of entries.

    Args:
        tail: the last bytes of the file, ``END_BYTES`` or all of it.
        size: of the file.
        location: of the file, for messages.
        key: its name, for errors.

    Raises:
        CorruptionError: ``zip``.
    """
    zipped = _Zip(location, key)
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\5\6"):
        zipped.refuse("is no zip file, is cut off, or has a comment or other bytes at its end")
    _, disk, first_disk, here, count, length, start, comment = _END.unpack(tail[-_END.size :])
    stop = size - _END.size
    rest = tail[: -_END.size]
    if len(rest) >= _LOCATOR.size and rest[-_LOCATOR.size :].startswith(b"PK\6\7"):
        stop -= _LOCATOR.size + _END64.size
        _, end_disk, at, disks = _LOCATOR.unpack(rest[-_LOCATOR.size :])
        rest = rest[: -_LOCATOR.size][-_END64.size :]
        sound = len(rest) == _END64.size and rest.startswith(b"PK\6\6")
        if at != stop or end_disk or disks != 1 or not sound:
            zipped.refuse("has a zip64 record that is not where it must be")
        _, own, _, _, disk, first_disk, here, count, length, start = _END64.unpack(rest)
        if own != _END64.size - 12:
            zipped.refuse("has a zip64 record of an unknown kind")
    if comment or disk or first_disk or here != count:
        zipped.refuse("has a comment, or is one of several parts")
    if start + length != stop or length > MAX_DIRECTORY_BYTES:
        zipped.refuse("has a directory that does not end where it must, or is too large")
    return start, stop, count


def parse_directory(
    directory: bytes, start: int, count: int, location: str, key: str
) -> dict[str, ByteRange]:
    """Start and stop of every object in the file, by its key.

    Args:
        directory: its bytes.
        start: its offset in the file.
        count: of its entries.
        location: of the file, for messages.
        key: its name, for errors.

    Raises:
        CorruptionError: ``zip`` for compressed, encrypted, overlapping or doubled entries, holes,
            symbolic links, and names that might lead out of the bank.
    """
    zipped = _Zip(location, key)
    entries: list[tuple[int, int, str]] = []  # offset of the header, size, name
    at = 0
    while at < len(directory):
        if len(directory) - at < _ENTRY.size or not directory.startswith(b"PK\1\2", at):
            zipped.refuse("has a damaged directory")
        fields = _ENTRY.unpack_from(directory, at)
        names_at = at + _ENTRY.size
        extra_at = names_at + fields[10]
        at = extra_at + fields[11] + fields[12]
        if at > len(directory) or len(entries) == count:
            zipped.refuse("has a damaged directory")
        name = _name(zipped, directory[names_at:extra_at])
        offset, size = _place(zipped, fields, directory[extra_at : extra_at + fields[11]], name)
        entries.append((offset, size, name))
    if len(entries) != count:
        zipped.refuse("has a damaged directory")
    return _tiled(zipped, sorted(entries), start)


def _name(zipped: _Zip, raw: bytes) -> str:
    try:
        name = raw.decode()
        key_parts(name.removesuffix("/"), zipped.location)
    except (UnicodeDecodeError, StorageError):
        zipped.refuse(f"has an entry {raw[:80]!r}, whose name might lead out of the bank")
    if "\\" in name or ":" in name or not name.isprintable():
        zipped.refuse(f"has an entry {raw[:80]!r}, whose name might lead out of the bank")
    return name


def _place(zipped: _Zip, fields: tuple[int, ...], extra: bytes, name: str) -> tuple[int, int]:
    """Offset of an entry's header, and size of its object."""
    made_by, flags, method = fields[1], fields[3], fields[4]
    packed, size, disk = fields[8], fields[9], fields[13]
    attributes, offset = fields[15], fields[16]
    if method or flags & 1:
        zipped.refuse(f"has {name!r} compressed or encrypted, where it must be stored as it is")
    if flags & ~_FLAGS:
        zipped.refuse(f"has {name!r} with a data descriptor or another feature it must not have")
    if made_by >> 8 == _UNIX and stat.S_ISLNK(attributes >> 16):
        zipped.refuse(f"has {name!r} as a symbolic link")
    wanted = [value == _LARGE for value in (size, packed, offset)]
    if any(wanted):
        large = _large(zipped, extra, sum(wanted), name)
        size = large.pop(0) if wanted[0] else size
        packed = large.pop(0) if wanted[1] else packed
        offset = large.pop(0) if wanted[2] else offset
    if packed != size or disk or (name.endswith("/") and size):
        zipped.refuse(f"has {name!r} with sizes that contradict each other")
    return offset, size


def _large(zipped: _Zip, extra: bytes, count: int, name: str) -> list[int]:
    """The 64-bit numbers of an entry whose fields are too small for them."""
    kind = length = at = 0
    while len(extra) - at >= 4 and kind != 1:
        kind, length = struct.unpack_from("<2H", extra, at)
        numbers, at = extra[at + 4 : at + 4 + length], at + 4 + length
    if kind != 1 or len(numbers) < 8 * count:
        zipped.refuse(f"has {name!r} without the zip64 sizes that it asks for")
    return list(struct.unpack_from(f"<{count}Q", numbers))


def _tiled(
    zipped: _Zip, entries: list[tuple[int, int, str]], directory_at: int
) -> dict[str, ByteRange]:
    """The objects' places, if they and their headers fill the file up to the directory.

    So no header needs to be read: an object ends where the next header begins.
    """
    places: dict[str, ByteRange] = {}
    starts = [offset for offset, _, _ in entries] + [directory_at]
    if starts[0]:
        zipped.refuse("does not begin with its first entry")
    for (offset, size, name), end in zip(entries, starts[1:], strict=True):
        header = end - size - offset - _HEADER_BYTES - len(name.encode())
        if not 0 <= header <= 0xFFFF:
            zipped.refuse(f"has {name!r} overlapping its neighbour, or a hole after it")
        if name in places:
            zipped.refuse(f"has {name!r} twice")
        places[name] = end - size, end
    return {name: place for name, place in places.items() if not name.endswith("/")}
