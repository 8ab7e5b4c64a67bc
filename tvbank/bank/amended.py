"""A store as it would be with some objects changed, of which nothing is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

from tvbank.storage import ByteRange, ReadOnlyStorage, Storage, StoredObject


@final
class AmendedStorage(ReadOnlyStorage):
    """Another store's objects, and those of ``changes`` in their places.

    Attributes:
        changes: by key, what objects would hold.
    """

    def __init__(self, inner: Storage) -> None:
        self._inner, self.location, self.parallel = inner, inner.location, inner.parallel
        self.changes: dict[str, bytes] = {}

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        if key in self.changes:
            return self.changes[key][: None if limit is None else limit + 1]
        return self._inner.get(key, limit)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        if key in self.changes:
            return [self.changes[key][start:stop] for start, stop in ranges]
        return self._inner.get_ranges(key, ranges)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        for stored in self._inner.list(prefix):
            if stored.key not in self.changes:
                yield stored
        for key, data in self.changes.items():
            if key.startswith(prefix):
                yield StoredObject(key, len(data))
