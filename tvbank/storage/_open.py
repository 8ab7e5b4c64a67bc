"""From a bank's place, as users name it, to its store."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from tvbank.errors import UsageError
from tvbank.storage._own import own_storage
from tvbank.storage._shown import redact_url, refuse_credentials
from tvbank.storage._storage import Storage
from tvbank.storage.by_icechunk import IcechunkStorage, is_icechunk
from tvbank.storage.local import LocalStorage
from tvbank.storage.memory import MemoryStorage

#: A bank's place: a path, a URL, or a store: one of tvbank's; of an Icechunk session; of obstore's,
#: zarr's or fsspec's, with credentials of its own; or an open bank, whose place it then is.
Location = str | os.PathLike[str] | Storage | Any

#: Schemes that obstore serves.
_OBJECTS = {
    "s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl", "http", "https",
}  # fmt: skip

#: Other schemes whose URLs may have lost a slash.
_OTHERS = {"file", "ftp", "github", "hf", "memory", "sftp"}

#: The stores that this process has opened under ``memory://``.
_memories: dict[str, MemoryStorage] = {}


def open_storage(location: Location) -> Storage:
    """The store that a path or URL names; a store and an open bank name their own.

    Nothing is read yet.

    Raises:
        UsageError: nothing, a URL of an unknown kind, or one that holds credentials.
        StorageError: a package that the store needs is missing.
    """
    if isinstance(location, Storage):
        return location
    if isinstance(inner := getattr(location, "storage", None), Storage):
        return inner  # of an open bank
    if is_icechunk(location):
        return IcechunkStorage(location)
    if not isinstance(location, str | os.PathLike):
        own = own_storage(location)
        if own is not None:
            return own
        raise UsageError(
            f"a {type(location).__name__} is no place of a bank: give a path, a URL, or a store of "
            "obstore's, zarr's, fsspec's, or of an Icechunk session"
        )
    place = os.fspath(location)
    if not place:
        raise UsageError("the bank's place is an empty text: give the bank's folder or URL")
    if is_url(place):
        return _open_url(refuse_credentials(place))
    return _open_path(place)


def is_url(place: str) -> bool:
    """Whether a place is a URL rather than a path of this machine.

    Raises:
        UsageError: it is a URL that lost a slash.
    """
    if "://" in place:
        return True
    if scheme := _without_slash(place):
        raise UsageError(  # the rest is not shown: it may hold a password
            f"{scheme}:/… has one slash where a URL has two: give URLs as text, since a Path drops "
            f"one (for a folder of that name, write ./{scheme}:/…)"
        )
    return False


def _without_slash(place: str) -> str:
    """The scheme of a URL that lost a slash, as it does in a ``Path``; else nothing."""
    scheme, _, rest = place.partition(":")
    return scheme if rest.startswith("/") and scheme.lower() in _OBJECTS | _OTHERS else ""


def local_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file of this machine.

    Raises:
        UsageError: it is a URL.
    """
    text = os.fspath(path)
    if "://" in text or _without_slash(text):
        shown = redact_url(text) if "://" in text else f"{_without_slash(text)}://…"
        raise UsageError(f"{shown} is a URL: give the path of a file of this machine")
    return Path(text)


def split_url(url: str) -> tuple[str, str]:
    """The URL of the folder that holds a file, and the file's key in the store of that folder.

    What is percent-encoded in the URL of an object store or an HTTP server is not in the key.
    """
    folder, _, name = url.rpartition("/")
    if _scheme(url) in _OBJECTS:
        with suppress(UnicodeDecodeError):  # no key is made of such bytes
            name = unquote(name, errors="strict")
    return folder, name


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _open_path(path: str) -> Storage:
    if not path.lower().endswith(".zip") or os.path.isdir(path):
        return LocalStorage(path)
    from tvbank.storage.zipped import ZipStorage

    folder, name = os.path.split(path)
    return ZipStorage(LocalStorage(folder or "."), name)


def _open_url(url: str) -> Storage:
    scheme = _scheme(url)
    if scheme == "file":
        return _open_path(url2pathname(urlsplit(url).path))
    folder, name = split_url(url)
    if scheme != "memory" and name.lower().endswith(".zip"):
        from tvbank.storage.zipped import ZipStorage

        return ZipStorage(_open_url(folder), name, url)
    if scheme == "memory":
        name = url.partition("://")[2].strip("/")
        return _memories.setdefault(name, MemoryStorage(name))
    if scheme == "hf" and not url.lower().startswith("hf://buckets/"):
        from tvbank.storage.hub import HubStorage

        return HubStorage(url)
    if scheme in _OBJECTS:
        from tvbank.storage.objects import ObjectStorage  # obstore, which no folder needs

        return ObjectStorage(url)
    from tvbank.storage.by_fsspec import FsspecStorage

    return FsspecStorage(url)
