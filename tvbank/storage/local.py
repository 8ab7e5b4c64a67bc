"""A store in a directory: every write is a temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

from tvbank._atomic import replace_file, sync_folder
from tvbank._files import open_regular
from tvbank.errors import StorageError
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    StoredObject,
    TaggedByContent,
    key_parts,
)

#: What the system says of a key that has no file: nothing there, or a folder in its place.
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@final
class LocalStorage(TaggedByContent):
    """Objects as files below one directory; writers exclude each other with a file lock."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root).absolute()
        self.location = str(root)
        self._thread_lock = threading.RLock()
        self._lock = FolderLock(self._root)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        path = self._path(key)
        with self._errors("read", key), open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            return _read_range(file.fileno(), 0, size if limit is None else min(size, limit + 1))

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``."""
        path = self._path(key)
        with self._errors("read", key), open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            return _read_range(file.fileno(), max(0, size - length), size), size

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``; the text is when the file was last written."""
        with self._errors("read", key):
            found = self._path(key).stat()
        return found.st_size, str(found.st_mtime_ns)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        path = self._path(key)
        with self._errors("read", key), open_regular(path) as file:
            return [_read_range(file.fileno(), start, stop) for start, stop in ranges]

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``."""
        path = self._path_to_change(key)
        with self._errors("write", key):
            self._make_folder(path.parent)
        replace_file(path, data, lambda _path, error: self._refusal("write", key, error))

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``; temporary files of killed writers are listed too."""
        with self._errors("list", prefix):
            for folder, _folders, files in os.walk(self._root, onerror=_unless_gone):
                for name in files:
                    path = Path(folder, name)
                    key = path.relative_to(self._root).as_posix()
                    if key.startswith(prefix) and key != LOCK_FILE:
                        with suppress(FileNotFoundError):  # renamed or removed since the listing
                            found = path.lstat()
                            yield StoredObject(key, found.st_size, found.st_mtime)

    def delete(self, key: str) -> None:
        """See ``Storage.delete``; folders that become empty go too."""
        path = self._path_to_change(key)
        with self._errors("delete", key):
            path.unlink()
        for folder in path.parents:
            if folder == self._root:
                break
            try:
                folder.rmdir()
            except OSError:  # not empty: other objects live there
                break

    def local_path(self, key: str) -> Path:
        """See ``Storage.local_path``."""
        return self._path(key)

    def touch(self, key: str) -> None:
        """See ``Storage.touch``."""
        path = self._path(key)
        with self._errors("write", key):
            try:
                with path.open("rb") as file:  # a folder cannot be opened
                    os.utime(file.fileno())
            except _NO_OBJECT as error:
                raise ObjectNotFoundError(f"{self.location}: no object {key!r}") from error
            except PermissionError:  # another user's file, in a folder where we may write
                self.put(key, self.get(key))

    def tidy(self, folder: str) -> None:
        """See ``Storage.tidy``: folders that hold no object."""
        top = self._path_to_change(f"{folder}/x").parent  # a walk begins even at a link
        for path, _folders, _files in os.walk(top, topdown=False):
            with suppress(OSError):  # not empty: objects live there
                os.rmdir(path)

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
        return self._root.joinpath(*key_parts(key, self.location))

    def _path_to_change(self, key: str) -> Path:
        """The path of an object to write or remove, if it is within the folder for certain.

        Raises:
            StorageError: a folder on the way is a symbolic link, as a stranger's bank may have it.
        """
        path = self._path(key)
        for folder in path.parents:
            if folder == self._root:
                break
            if folder.is_symlink():
                link = folder.relative_to(self._root).as_posix()
                raise StorageError(
                    f"{self.location}: {link!r} is a symbolic link, and what it leads to is not "
                    "the bank's to change: copy the bank with `tvbank cp`, and change the copy"
                )
        return path

    def _make_folder(self, folder: Path) -> None:
        """Create a folder durably: each new one is synced into its parent."""
        if folder.is_dir():
            return
        if folder != folder.parent:
            self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)

    @contextmanager
    def _errors(self, verb: str, key: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: the folder's path holds a NUL
            raise self._refusal(verb, key, error) from error

    def _refusal(self, verb: str, key: str, error: OSError | ValueError) -> Exception:
        if isinstance(error, _NO_OBJECT) and verb in ("read", "delete"):
            return ObjectNotFoundError(f"{self.location}: no object {key!r}")
        what = repr(key) if key else "the folder"
        why = getattr(error, "strerror", None) or error
        return StorageError(f"{self.location}: cannot {verb} {what}: {why}")


def _read_range(descriptor: int, start: int, stop: int) -> bytes:
    """Read until the range is complete or the file ends; a read may return less than asked."""
    stop = min(stop, os.fstat(descriptor).st_size)  # a buffer of the size asked for is allocated
    parts: list[bytes] = []
    while start < stop and (part := os.pread(descriptor, stop - start, start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)


def _unless_gone(error: OSError) -> None:
    """Pass over folders that were removed since the listing began, and over a missing root."""
    if not isinstance(error, FileNotFoundError):
        raise error


LOCK_FILE = ".lock"

if sys.platform == "win32":
    from filelock import FileLock

    class FolderLock(FileLock):
        """A lock file in the folder, which Windows cannot lock itself."""

        def __init__(self, folder: Path) -> None:
            super().__init__(folder / LOCK_FILE)

else:
    import fcntl

    class FolderLock:
        """``flock`` on the folder, counted, so that its holder may take it again.

        The system releases it when its holder dies. The folder itself is locked, so that a bank
        holds no file that zarr's tools would stumble over.
        """

        def __init__(self, folder: Path) -> None:
            self._folder = folder
            self._held = 0
            self._descriptor = -1

        def acquire(self) -> None:
            """Wait for the lock.

            Raises:
                OSError: the folder cannot be opened or locked.
            """
            if not self._held:
                descriptor = os.open(self._folder, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
                except BaseException:
                    os.close(descriptor)
                    raise
                self._descriptor = descriptor
            self._held += 1

        def release(self) -> None:
            """Give the lock back, as often as it was taken."""
            self._held -= 1
            if not self._held:
                os.close(self._descriptor)
