"""A store of any kind that fsspec knows, such as ``github://``; read only.

fsspec has no conditional put, without which two writers would overwrite each other's catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from tvbank.errors import StorageError, UsageError
from tvbank.storage._shown import redact, refuse_credentials, words_of
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    ReadOnlyStorage,
    StoredObject,
    key_parts,
)

_Result = TypeVar("_Result")


@final
class FsspecStorage(ReadOnlyStorage):
    """Objects below one place of one of fsspec's file systems, which know where credentials are."""

    def __init__(self, place: str | tuple[Any, str]) -> None:
        """Find the file system; most connect at the first request.

        Args:
            place: a URL, or a file system and a path in it.

        Raises:
            UsageError: fsspec knows no such URLs, or it holds credentials.
            StorageError: fsspec, or the package it needs for them, is missing, or refuses.
        """
        if not isinstance(place, str):
            self._files, self._root = place[0], place[1].rstrip("/")
            self.location = redact(str(self._files.unstrip_protocol(self._root)))
            return
        self.location = refuse_credentials(place)
        try:
            import fsspec.core
        except ImportError:
            raise StorageError(
                f"{self.location}: such banks are read through fsspec: pip install 'tvbank[fsspec]'"
            ) from None
        problem: StorageError | UsageError | None = None
        try:
            files, root = fsspec.core.url_to_fs(place)
            self._files, self._root = files, str(root).rstrip("/")
        except ValueError as error:
            problem = UsageError(f"{self.location} is no URL that fsspec knows: {_named(error)}")
        except Exception as error:  # each file system has errors of its own
            problem = StorageError(f"{self.location}: cannot reach it: {_named(error)}")
        if problem is not None:
            raise problem

    def __reduce__(self) -> tuple[object, ...]:
        return FsspecStorage, ((self._files, self._root),)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        path, end = self._path(key), None if limit is None else limit + 1
        return self._call(
            "read", key, lambda: _taken(self._files.cat_file(path, start=0, end=end), end)
        )

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        path = self._path(key)
        wanted = [(start, stop) for start, stop in ranges if start < stop]

        def read() -> list[bytes]:
            starts, stops = [start for start, _ in wanted], [stop for _, stop in wanted]
            paths = [path] * len(wanted)
            parts = self._files.cat_ranges(paths, starts, stops, on_error="raise")
            return [
                _taken(part, stop - start)
                for part, (start, stop) in zip(parts, wanted, strict=True)
            ]

        found = iter(self._call("read", key, read) if wanted else [])
        return [next(found) if start < stop else b"" for start, stop in ranges]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``."""
        path = self._path(key)
        size = self._call("read", key, lambda: _known(self._files.size(path)))
        return self.get_ranges(key, [(max(0, size - length), size)])[0], size

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``."""
        path = self._path(key)

        def read() -> tuple[int, str]:
            return _known(self._files.size(path)), str(self._files.ukey(path))

        return self._call("read", key, read)

    def local_path(self, key: str) -> Path | None:
        """See ``Storage.local_path``: such as those under ``local://``."""
        kinds = getattr(self._files, "protocol", ())
        local = "file" in ((kinds,) if isinstance(kinds, str) else kinds)
        return Path(self._path(key)) if local else None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        found = self._call("list", prefix, lambda: self._files.find(self._root, detail=True))
        start = str(self._files._strip_protocol(self._root)).rstrip("/")
        for path, facts in found.items():
            key = path.removeprefix(start).lstrip("/")
            if key.startswith(prefix):
                yield StoredObject(key, facts["size"] or 0)

    def _path(self, key: str) -> str:
        return "/".join([*filter(None, [self._root]), *key_parts(key, self.location)])

    def _call(self, verb: str, key: str, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            problem: StorageError | ObjectNotFoundError = ObjectNotFoundError(
                f"{self.location}: no object {key!r}"
            )
        except Exception as error:  # each file system has errors of its own
            what = repr(key) if key else "the store"
            problem = StorageError(f"{self.location}: cannot {verb} {what}: {_named(error)}")
        raise problem


def _named(error: BaseException) -> str:
    """An error's name, and its words without secrets."""
    words = words_of(error)
    return f"{type(error).__name__}{': ' + words if words else ''}"


def _taken(found: Any, most: int | None) -> bytes:
    """The bytes that a file system returns; what it returns instead of raising is raised."""
    if isinstance(found, BaseException):
        raise found
    if not isinstance(found, bytes | bytearray | memoryview):
        raise StorageError(f"it returned a {type(found).__name__} where bytes were asked for")
    return bytes(found[:most])


def _known(size: int | BaseException | None) -> int:
    if isinstance(size, BaseException):
        raise size
    if size is None:
        raise StorageError("the file system does not know the size of that object")
    return int(size)
