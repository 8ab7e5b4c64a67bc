"""From a bank's place, as users name it, to its store."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tvbank.errors import UsageError
from tvbank.storage._storage import Storage, refuse_credentials
from tvbank.storage.by_icechunk import IcechunkStorage, is_icechunk
from tvbank.storage.local import LocalStorage
from tvbank.storage.memory import MemoryStorage

#: A bank's place: a path, a URL, a store of one's own, or that of an Icechunk session.
Location = str | os.PathLike[str] | Storage | Any

#: Schemes that obstore serves.
_OBJECTS = {
    "s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "http", "https",
}  # fmt: skip

#: The stores that this process has opened under ``memory://``.
_memories: dict[str, MemoryStorage] = {}


def open_storage(location: Location) -> Storage:
    """The store that a path or URL names; a store names itself. Nothing is read yet.

    Raises:
        UsageError: nothing, a URL of an unknown kind, or one that holds credentials.
        StorageError: a package that the store needs is missing.
    """
    if isinstance(location, Storage):
        return location
    if is_icechunk(location):
        return IcechunkStorage(location)
    if not isinstance(location, str | os.PathLike):
        raise UsageError(
            f"a {type(location).__name__} is no place of a bank: give a path, a URL, or the store "
            "of an Icechunk session"
        )
    place = os.fspath(location)
    if not place:
        raise UsageError("the bank's place is an empty text: give the bank's folder or URL")
    return _open_url(refuse_credentials(place)) if "://" in place else _open_path(place)


def _open_path(path: str) -> Storage:
    if not path.lower().endswith(".zip") or os.path.isdir(path):
        return LocalStorage(path)
    from tvbank.storage.zipped import ZipStorage

    folder, name = os.path.split(path)
    return ZipStorage(LocalStorage(folder or "."), name)


def _open_url(url: str) -> Storage:
    scheme = url.partition("://")[0].lower()
    if scheme == "file":
        return _open_path(url2pathname(urlsplit(url).path))
    if scheme != "memory" and url.lower().endswith(".zip"):
        from tvbank.storage.zipped import ZipStorage

        folder, _, name = url.rpartition("/")
        return ZipStorage(_open_url(folder), name)
    if scheme == "memory":
        name = url.partition("://")[2].strip("/")
        return _memories.setdefault(name, MemoryStorage(name))
    if scheme in _OBJECTS:
        from tvbank.storage.objects import ObjectStorage  # obstore, which no folder needs

        return ObjectStorage(url)
    from tvbank.storage.by_fsspec import FsspecStorage

    return FsspecStorage(url)
