"""A store of any kind that fsspec knows, such as ``hf://`` and ``github://``; read only.

fsspec has no conditional put, without which two writers would overwrite each other's catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from tvbank.errors import StorageError, UsageError
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    ReadOnlyStorage,
    StoredObject,
    key_parts,
    redact,
)

_Result = TypeVar("_Result")


@final
class FsspecStorage(ReadOnlyStorage):
    """Objects below one place of one of fsspec's file systems, which know where credentials are."""

    def __init__(self, url: str) -> None:
        """Find the file system; most connect at the first request.

        Raises:
            UsageError: fsspec knows no such URLs.
            StorageError: fsspec, or the package it needs for them, is missing, or refuses.
        """
        self.location = redact(url)
        try:
            import fsspec.core
        except ImportError:
            raise StorageError(
                f"{self.location}: such banks are read through fsspec: pip install 'tvbank[fsspec]'"
            ) from None
        problem: StorageError | UsageError | None = None
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ValueError as error:
            problem = UsageError(f"{self.location} is no URL that fsspec knows: {_words(error)}")
        except Exception as error:  # each file system has errors of its own
            problem = StorageError(f"{self.location}: cannot reach it: {_words(error)}")
        if problem is not None:
            raise problem

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        path, end = self._path(key), None if limit is None else limit + 1
        return self._call("read", key, lambda: bytes(self._files.cat_file(path, start=0, end=end)))

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        path = self._path(key)
        wanted = [(start, stop) for start, stop in ranges if start < stop]

        def read() -> list[bytes]:
            starts, stops = [start for start, _ in wanted], [stop for _, stop in wanted]
            paths = [path] * len(wanted)
            return [bytes(part) for part in self._files.cat_ranges(paths, starts, stops)]

        found = iter(self._call("read", key, read) if wanted else [])
        return [next(found) if start < stop else b"" for start, stop in ranges]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``."""
        path = self._path(key)
        size = int(self._call("read", key, lambda: self._files.size(path)))
        return self.get_ranges(key, [(max(0, size - length), size)])[0], size

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``."""
        path = self._path(key)

        def read() -> tuple[int, str]:
            return int(self._files.size(path)), str(self._files.ukey(path))

        return self._call("read", key, read)

    def local_path(self, key: str) -> Path | None:
        """See ``Storage.local_path``: such as those under ``local://``."""
        kinds = getattr(self._files, "protocol", ())
        local = "file" in ((kinds,) if isinstance(kinds, str) else kinds)
        return Path(self._path(key)) if local else None

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        found = self._call("list", prefix, lambda: self._files.find(self._root, detail=True))
        start = len(self._files._strip_protocol(self._root).rstrip("/")) + 1
        for path, facts in found.items():
            if path[start:].startswith(prefix):
                yield StoredObject(path[start:], facts["size"])

    def _path(self, key: str) -> str:
        return "/".join([str(self._root).rstrip("/"), *key_parts(key, self.location)])

    def _call(self, verb: str, key: str, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            problem: StorageError | ObjectNotFoundError = ObjectNotFoundError(
                f"{self.location}: no object {key!r}"
            )
        except Exception as error:  # each file system has errors of its own
            what = repr(key) if key else "the store"
            problem = StorageError(f"{self.location}: cannot {verb} {what}: {_words(error)}")
        raise problem


def _words(error: Any) -> str:
    """The first line of an error, without what may be secret in the URLs that it quotes."""
    lines = redact(str(error)).splitlines()
    return f"{type(error).__name__}{': ' + lines[0] if lines else ''}"
