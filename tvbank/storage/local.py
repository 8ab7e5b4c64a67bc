"""A store in a directory: every write is a temporary file, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import final

from tvbank._atomic import REMEDIES, replace_file, sync_folder
from tvbank._files import open_regular
from tvbank.errors import StorageError, TvbankError
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    StoredObject,
    TaggedByContent,
    key_parts,
)
from tvbank.storage.folder_lock import FolderLock
from tvbank.storage.lock_file import BREAKING_FILE, LOCK_FILE

#: What the system says of a key that has no file: nothing there, or a folder in its place.
_NO_OBJECT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

#: Whether the system can touch a symbolic link without what it leads to; Windows cannot.
_TOUCHES_LINKS = os.utime in os.supports_follow_symlinks


@final
class LocalStorage(TaggedByContent):
    """Objects as files below one directory; writers exclude each other with a file lock."""

    def __init__(self, root: str | os.PathLike[str], location: str | None = None) -> None:
        """Name the folder, which need not exist.

        Args:
            root: the folder.
            location: how a user names it, where that differs.
        """
        self._root = Path(root).absolute()
        self.location = str(root) if location is None else location
        self._seen: dict[str, tuple[tuple[int, ...], str]] = {}
        self._lock = FolderLock(
            self._root, self._make_folder, lambda error: self._refusal("lock", "", error)
        )

    def __reduce__(self) -> tuple[object, ...]:
        return LocalStorage, (self._root, self.location)

    def get_if_changed(
        self, key: str, tag: str | None, limit: int | None = None
    ) -> tuple[bytes, str] | None:
        """See ``Storage.get_if_changed``: a file that was not written since is not read again."""
        with self._errors("read", key):
            found = self._path(key).stat()
        seen = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        if tag is not None and self._seen.get(key) == (seen, tag):
            return None
        data, new = self.get_tagged(key, limit)
        self._seen[key] = seen, new
        return None if new == tag else (data, new)

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
        folder = prefix.rpartition("/")[0]
        top = self._path(folder) if folder else self._root
        if self._linked_folder(top / "x"):  # a walk begins even at a link
            return
        with self._errors("list", prefix):
            for place, _folders, files in os.walk(top, onerror=_unless_gone):
                for name in files:
                    path = Path(place, name)
                    key = path.relative_to(self._root).as_posix()
                    if key.startswith(prefix) and key not in (LOCK_FILE, BREAKING_FILE):
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

    def touch(self, key: str, limit: int | None = None) -> None:
        """See ``Storage.touch``: of a symbolic link the link itself, as in the listing.

        Nothing is opened, and what lies behind a link to a folder is not there: it is not the
        bank's to change, and ``list`` does not show it either.
        """
        path = self._path(key)
        with self._errors("touch", key):
            if self._linked_folder(path) or not _is_object(path):
                raise ObjectNotFoundError(f"{self.location}: no object {key!r}")
            self._refuse_moved()
            try:
                os.utime(path, follow_symlinks=not _TOUCHES_LINKS)
            except PermissionError:  # another user's, in a folder where we may write
                if not path.is_symlink():
                    super().touch(key, limit)

    def now(self) -> float:
        """See ``Storage.now``: the file system stamps the folder, as it does every file.

        On a network that is the server's clock, which need not be this machine's.
        """
        with self._errors("write", ""):
            os.utime(self._root)
            return self._root.stat().st_mtime

    def tidy(self, folder: str) -> None:
        """See ``Storage.tidy``: folders that hold no object."""
        top = self._path_to_change(f"{folder}/x").parent  # a walk begins even at a link
        for path, _folders, _files in os.walk(top, topdown=False):
            with suppress(OSError):  # not empty: objects live there
                os.rmdir(path)

    def exclusive(self) -> AbstractContextManager[object]:
        """See ``Storage.exclusive``: a lock that the system drops if the holder dies."""
        return self._lock.hold()

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*key_parts(key, self.location))

    def _path_to_change(self, key: str) -> Path:
        """The path of an object to write or remove, if it is within the folder for certain.

        Raises:
            StorageError: a folder on the way is a symbolic link, as a stranger's bank may have it;
                or the folder is not the one that this thread has locked.
        """
        path = self._path(key)
        if linked := self._linked_folder(path):
            link = linked.relative_to(self._root).as_posix()
            raise StorageError(
                f"{self.location}: {link!r} is a symbolic link, and what it leads to is not "
                "the bank's to change: copy the bank with `tvbank cp`, and change the copy"
            )
        self._refuse_moved()
        return path

    def _linked_folder(self, path: Path) -> Path | None:
        """A folder between the bank's and an object that is a symbolic link, if there is one."""
        for folder in path.parents:
            if folder == self._root:
                break
            if folder.is_symlink():
                return folder
        return None

    def _refuse_moved(self) -> None:
        """Refuse to change another folder than the one that was locked."""
        if why := self._lock.moved():
            raise StorageError(f"{self.location}: {why}: open the bank again, and try again")

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
        except TvbankError:
            raise
        except (OSError, ValueError) as error:  # ValueError: the folder's path holds a NUL
            raise self._refusal(verb, key, error) from error

    def _refusal(self, verb: str, key: str, error: OSError | ValueError) -> Exception:
        if isinstance(error, _NO_OBJECT) and verb in ("read", "delete", "touch"):
            return ObjectNotFoundError(f"{self.location}: no object {key!r}")
        what = repr(key) if key else "the folder"
        why = getattr(error, "strerror", None) or error
        remedy = REMEDIES.get(getattr(error, "errno", None) or 0)
        return StorageError(
            f"{self.location}: cannot {verb} {what}: {why}{f'; {remedy}' if remedy else ''}"
        )


def _is_object(path: Path) -> bool:
    """Whether there is a file, or a link that can be touched itself; no folder, no pipe."""
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or (_TOUCHES_LINKS and stat.S_ISLNK(mode))


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
