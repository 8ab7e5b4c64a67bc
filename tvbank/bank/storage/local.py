"""A store in a directory: every write is a temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from tvbank.bank.storage._folder_lock import LOCK_FILE, FolderLock
from tvbank.bank.storage._storage import ByteRange, ObjectNotFoundError, Storage, StoredObject
from tvbank.errors import ConflictError, StorageError

_TEMPORARY = ".tmp-"


@final
class LocalStorage(Storage):
    """Objects as files below one directory; writers exclude each other with a file lock."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        self.location = str(root)
        self._thread_lock = threading.RLock()
        self._lock = FolderLock(self._root)

    def get(self, key: str) -> bytes:
        """See ``Storage.get``."""
        with self._errors("read", key):
            return self._path(key).read_bytes()

    def get_tagged(self, key: str) -> tuple[bytes, str]:
        """See ``Storage.get_tagged``; the tag is the content's SHA-256."""
        data = self.get(key)
        return data, hashlib.sha256(data).hexdigest()

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        with self._errors("read", key), self._path(key).open("rb", buffering=0) as file:
            return [_read_range(file.fileno(), start, stop) for start, stop in ranges]

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``."""
        path = self._path(key)
        temporary = path.with_name(f"{path.name}{_TEMPORARY}{secrets.token_hex(8)}")
        with self._errors("write", key):
            self._make_folder(path.parent)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
                _sync_folder(path.parent)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise

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

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``; temporary files of killed writers are listed too."""
        with self._errors("list", prefix):
            for folder, _folders, files in os.walk(self._root):
                for name in files:
                    path = Path(folder, name)
                    key = path.relative_to(self._root).as_posix()
                    if key.startswith(prefix) and key != LOCK_FILE:
                        with suppress(FileNotFoundError):  # renamed or removed since the listing
                            yield StoredObject(key, path.lstat().st_size)

    def delete(self, key: str) -> None:
        """See ``Storage.delete``; folders that become empty go too."""
        path = self._path(key)
        with self._errors("delete", key):
            path.unlink()
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty: other objects live there
                break

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """See ``Storage.exclusive``: an advisory lock that the system drops if the holder dies."""
        with self._thread_lock:
            with self._errors("lock", ""):
                self._root.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            try:
                yield
            finally:
                self._lock.release()

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise StorageError(f"{self.location}: {key!r} is not a key")
        return self._root.joinpath(*parts)

    def _make_folder(self, folder: Path) -> None:
        """Create a folder durably: each new one is synced into its parent."""
        if folder.is_dir():
            return
        if folder != folder.parent:
            self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ObjectNotFoundError(f"{self.location}: no object {key!r}") from error
        except OSError as error:
            raise StorageError(
                f"{self.location}: cannot {verb} {key!r}: {error.strerror or error}"
            ) from error


def _read_range(descriptor: int, start: int, stop: int) -> bytes:
    """Read until the range is complete or the file ends; a read may return less than asked."""
    parts: list[bytes] = []
    while start < stop and (part := os.pread(descriptor, stop - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there; a rename is durable without
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
