"""Stores without tags of their own: an object's tag is its content's digest."""

from __future__ import annotations

import hashlib
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

from tvbank.errors import ConflictError
from tvbank.storage._storage import ObjectNotFoundError, Storage, key_parts


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
