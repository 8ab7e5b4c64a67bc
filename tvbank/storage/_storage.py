"""What a bank asks of a store: get, get ranges, put, put if unchanged, list, delete.

Below the interface: what stores without tags of their own share.
"""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from tvbank.errors import ConflictError, StorageError, TvbankError, UsageError

#: A range of bytes: start, stop.
ByteRange = tuple[int, int]


class ObjectNotFoundError(TvbankError, KeyError):
    """The store has no object under that key."""


class LosesWritesError(StorageError):
    """The store does not keep writers from overwriting each other unseen."""


@dataclass(frozen=True)
class StoredObject:
    """One object of a listing: size in bytes; when it was last written, in seconds since 1970."""

    key: str
    size: int
    modified: float = field(default=0.0, compare=False)


def key_parts(key: str, location: str) -> list[str]:
    """Split a key at its slashes.

    Raises:
        StorageError: a part is empty, ``.`` or ``..``, or holds a NUL: such a key might lead out of
            the store.
    """
    parts = key.split("/")
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StorageError(f"{location}: {key!r} cannot be the key of an object")
    return parts


class Storage(ABC):
    """Immutable objects and one mutable one, under keys with ``/`` between their parts.

    Every method raises ``StorageError`` if the store refuses, or the key might lead out of it; the
    reading ones raise ``ObjectNotFoundError`` for a key that is not there, and so does ``delete``
    where the store says so.
    """

    #: How a user would name this store: a path or a URL, without any credentials.
    location: str

    #: Requests worth having under way at once: 1 where each is answered at once.
    parallel: int = 1

    #: Whether ``exclusive`` keeps all other writers out; otherwise writers meet at
    #: ``put_if_unchanged`` only.
    locks: bool = True

    #: Whether nothing can be written there.
    read_only: bool = False

    def __reduce__(self) -> tuple[object, ...]:
        """How another process opens the same store; by default, it cannot.

        Raises:
            UsageError: it is in this process alone.
        """
        raise UsageError(
            f"{self.location} is in this process alone and cannot be pickled: put the bank into a "
            "folder or an object store (`tvbank.copy`)"
        )

    @abstractmethod
    def get(self, key: str, limit: int | None = None) -> bytes:
        """The whole object; of one larger than ``limit`` bytes, the first ``limit`` + 1.

        Nothing larger is read or allocated. A caller that knows an object's size gets one byte
        too many of a larger one.
        """

    @abstractmethod
    def get_tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """As ``get``, and a tag that changes whenever the object does."""

    def get_if_changed(
        self, key: str, tag: str | None, limit: int | None = None
    ) -> tuple[bytes, str] | None:
        """As ``get_tagged``; None if the object still has a tag, which costs next to nothing."""
        data, found = self.get_tagged(key, limit)
        return None if found == tag else (data, found)

    @abstractmethod
    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Several ranges of one object; a range past the object's end comes back short."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object, durably and whole: a reader sees the old one or the new one."""

    @abstractmethod
    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """Replace the object that has this tag; with ``None``, create one that is not there yet.

        Raises:
            ConflictError: the object has changed, or exists already; nothing was written.
        """

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """All objects whose key starts with ``prefix``, in no particular order."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object."""

    @abstractmethod
    def exclusive(self) -> AbstractContextManager[object]:
        """Keep other writers out, where the store can; re-entrant within a thread."""

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """The last ``length`` bytes of an object, or all of a shorter one; and its size."""
        data = self.get(key)
        return data[max(0, len(data) - length) :], len(data)

    def identify(self, key: str) -> tuple[int, str]:
        """Size of an object in bytes, and a text that changes whenever the object does."""
        data = self.get(key)
        return len(data), hashlib.sha256(data).hexdigest()

    def local_path(self, key: str) -> Path | None:
        """The file of this machine that holds an object, or would; None where no file does."""
        return None

    def prove(self, key: str, data: bytes, tag: str | None = None) -> None:  # noqa: B027
        """Make certain that ``put_if_unchanged`` keeps writers from overwriting each other.

        What locks proves its lock when it is taken.

        Args:
            key: an object that never changes; where it is missing, it may be written.
            data: its bytes.
            tag: of the object to be replaced, if there is one.

        Raises:
            LosesWritesError: it does not.
            StorageError: the store refused.
        """

    def touch(self, key: str, limit: int | None = None) -> None:
        """Make an object as young as if it had just been written, its bytes unchanged.

        One of more than ``limit`` bytes is left as it is, where it would have to be read.
        """
        data = self.get(key, limit)
        if limit is None or len(data) <= limit:
            self.put(key, data)

    def now(self) -> float:
        """The time by the clock that stamps objects, in seconds since 1970."""
        return time.time()

    def refuse_read_only(self) -> None:
        """Refuse to begin what would end in a write.

        Raises:
            StorageError: the store can only be read.
        """
        if self.read_only:
            raise StorageError(
                f"{self.location} can only be read: banks are made and changed in a folder or an "
                "object store (`tvbank cp` copies one there, `tvbank pack` writes a zip file of it)"
            )

    def tidy(self, folder: str) -> None:  # noqa: B027 - most stores have nothing to do
        """Remove what killed writers left in a folder that is no object, such as empty folders."""


class TaggedByContent(Storage):
    """A store whose writers meet under ``exclusive``, and compare what they replace by SHA-256."""

    def get_tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """See ``Storage.get_tagged``; the tag is the content's SHA-256."""
        data = self.get(key, limit)
        return data, hashlib.sha256(data).hexdigest()

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """See ``Storage.put_if_unchanged``."""
        with self.exclusive():
            try:
                found: str | None = self.get_tagged(key)[1]
            except ObjectNotFoundError:
                found = None
            if found != tag:
                raise ConflictError(f"{self.location}: {key!r} was changed by another writer")
            self.put(key, data)


class ReadOnlyStorage(TaggedByContent):
    """A store in which every write is refused."""

    read_only = True

    def put(self, key: str, data: bytes) -> None:
        """Refuse: see ``Storage.read_only``."""
        self._refuse(key)

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """Refuse: see ``Storage.read_only``."""
        self._refuse(key)

    def delete(self, key: str) -> None:
        """Refuse: see ``Storage.read_only``."""
        self._refuse(key)

    def exclusive(self) -> AbstractContextManager[None]:
        """See ``Storage.exclusive``: nobody writes here."""
        return nullcontext()

    def _refuse(self, key: str) -> NoReturn:
        key_parts(key, self.location)
        self.refuse_read_only()
        raise AssertionError(f"{self.location} is read only")
