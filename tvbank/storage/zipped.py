"""A store in one zip file, on a disk or wherever else another store can read it by ranges."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import final

from tvbank.storage._by_content import ReadOnlyStorage
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    Storage,
    StoredObject,
    key_parts,
)
from tvbank.storage._zip_directory import END_BYTES, directory_place, parse_directory

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

    def __init__(self, inner: Storage, name: str) -> None:
        """Name the file; nothing is read yet.

        Args:
            inner: the store that holds the file.
            name: its key there.
        """
        self._inner, self._name = inner, name
        self.location = f"{inner.location}/{name}"
        self.parallel = inner.parallel
        self._lock = threading.Lock()
        self._places: dict[str, ByteRange] | None = None
        self._tail, self._tail_at = b"", 0

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

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        for key, (start, stop) in self._directory().items():
            if key.startswith(prefix):
                yield StoredObject(key, stop - start)
