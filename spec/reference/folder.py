"""The store of a bank: a folder with an object a file (README.md, "Storage")."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from .documents import Stored
from .invalid import Invalid, require
from .json_text import MAX_BYTES


class Folder(NamedTuple):
    """Objects as files; keys are made by this package, never taken from a document unchecked."""

    path: Path

    def get(self, key: str, limit: int = MAX_BYTES) -> bytes:
        """A whole object, or ``limit`` + 1 bytes of it."""
        try:
            with (self.path / key).open("rb") as file:
                return file.read(limit + 1)
        except OSError as error:
            raise Invalid(f"{_kind(key)}-missing", f"{key}: {error.strerror}") from error

    def size(self, key: str) -> int:
        """Bytes of an object."""
        try:
            return (self.path / key).stat().st_size
        except OSError as error:
            raise Invalid(f"{_kind(key)}-missing", f"{key}: {error.strerror}") from error

    def part(self, key: str, part: range) -> bytes:
        """A range of an object."""
        try:
            with (self.path / key).open("rb") as file:
                file.seek(part.start)
                return file.read(len(part))
        except OSError as error:
            raise Invalid(f"{_kind(key)}-missing", f"{key}: {error.strerror}") from error

    def checked(self, key: str, stored: Stored) -> bytes:
        """A whole object that has the size and the digest it was recorded with."""
        data = self.get(key, stored.size)
        require(len(data) == stored.size, f"{_kind(key)}-size", f"{key} has another size")
        intact = hashlib.sha256(data).hexdigest() == stored.sha256
        require(intact, f"{_kind(key)}-digest", f"{key} has another SHA-256")
        return data


def _kind(key: str) -> str:
    return "document" if key.endswith("zarr.json") else "object"
