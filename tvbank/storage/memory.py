"""A store in memory: for tests, and for banks that need not outlive their process."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import final

from tvbank.errors import ConflictError
from tvbank.storage._forks import renewed_in_children
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    Storage,
    StoredObject,
    key_parts,
)

#: When this process's own clock, which nobody sets, began, in seconds since 1970.
_BEGAN = time.time() - time.monotonic()


@final
class MemoryStorage(Storage):
    """Objects in a dictionary."""

    def __init__(self, name: str = "") -> None:
        self.location = f"memory://{name}"
        self._objects: dict[str, tuple[bytes, str, float]] = {}
        self._versions = itertools.count(1)
        self._lock = renewed_in_children(self)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        return self.get_tagged(key, limit)[0]

    def get_tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """See ``Storage.get_tagged``."""
        key_parts(key, self.location)
        try:
            data, tag, _modified = self._objects[key]
        except KeyError:
            raise ObjectNotFoundError(f"{self.location}: no object {key!r}") from None
        return data if limit is None else data[: limit + 1], tag

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        data = self.get(key)
        return [data[start:stop] for start, stop in ranges]

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``."""
        key_parts(key, self.location)
        with self._lock:
            self._objects[key] = (bytes(data), str(next(self._versions)), self.now())

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """See ``Storage.put_if_unchanged``."""
        with self._lock:
            if self._objects.get(key, (b"", None, 0.0))[1] != tag:
                raise ConflictError(f"{self.location}: {key!r} was changed by another writer")
            self.put(key, data)

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        for key, (data, _tag, modified) in list(self._objects.items()):
            if key.startswith(prefix):
                yield StoredObject(key, len(data), modified)

    def delete(self, key: str) -> None:
        """See ``Storage.delete``."""
        key_parts(key, self.location)
        with self._lock:
            if self._objects.pop(key, None) is None:
                raise ObjectNotFoundError(f"{self.location}: no object {key!r}")

    def now(self) -> float:
        """See ``Storage.now``."""
        return _BEGAN + time.monotonic()

    def exclusive(self) -> AbstractContextManager[None]:
        """See ``Storage.exclusive``."""

        @contextmanager
        def hold() -> Iterator[None]:
            with self._lock:
                yield

        return hold()
