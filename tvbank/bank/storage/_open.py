"""From a bank's place, as users name it, to its store."""

from __future__ import annotations

import os
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tvbank.bank.storage._storage import Storage
from tvbank.bank.storage._url import redact, refuse_credentials
from tvbank.bank.storage.local import LocalStorage
from tvbank.bank.storage.memory import MemoryStorage
from tvbank.errors import UsageError

#: A bank's place: a path, a URL, or a store of one's own.
Location = str | os.PathLike[str] | Storage

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
    place = os.fspath(location)
    if not place:
        raise UsageError("the bank's place is an empty text: give the bank's folder or URL")
    return _open_url(refuse_credentials(place)) if "://" in place else _open_path(place)


def _open_path(path: str) -> Storage:
    if not path.lower().endswith(".zip") or os.path.isdir(path):
        return LocalStorage(path)
    from tvbank.bank.storage.zipped import ZipStorage

    folder, name = os.path.split(path)
    return ZipStorage(LocalStorage(folder or "."), name)


def _open_url(url: str) -> Storage:
    scheme = url.partition("://")[0].lower()
    if scheme == "file":
        return _open_path(url2pathname(urlsplit(url).path))
    if scheme != "memory" and url.lower().endswith(".zip"):
        from tvbank.bank.storage.zipped import ZipStorage

        folder, _, name = url.rpartition("/")
        return ZipStorage(_open_url(folder), name)
    if scheme == "memory":
        name = url.partition("://")[2].strip("/")
        return _memories.setdefault(name, MemoryStorage(name))
    if scheme in _OBJECTS:
        from tvbank.bank.storage.objects import ObjectStorage  # obstore, which no folder needs

        return ObjectStorage(url)
    raise UsageError(f"{redact(url)}: tvbank knows no stores of the kind {scheme!r}")
