"""Replace a file whole, or leave it as it was; make what a folder lists reach the disk.

A temporary file beside the target is written, synced, renamed to the target, and the folder is
synced. After a kill or a power failure the target is the old file or the new one.

A killed writer leaves its temporary file. The next writer of the same target removes it: a writer
holds a lock (flock) on its temporary file as long as it lives, so one whose lock is free belongs to
nobody. Where locks do nothing, a day without a write takes the lock's place.
"""

from __future__ import annotations

import errno
import io
import os
import re
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, final

from tvbank._files import refuse_irregular
from tvbank.errors import StorageError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

if sys.platform != "win32":
    import fcntl

#: How the names of temporary files end: ``<name of the target>.tmp-<hexadecimal digits>``.
TEMPORARY = re.compile(r"\.tmp-[0-9a-f]+\Z")

#: Of these, the ones that this version writes; only such are ever removed here.
_OURS = re.compile(r"\.tmp-[0-9a-f]{16}\Z")

#: Seconds without a write after which a temporary file belongs to nobody, where locks do nothing.
_ABANDONED = 86_400.0

#: Bytes of a file's name that every common file system allows.
_LONGEST_NAME = 255

#: What file systems answer that cannot sync a folder, or do not let it be opened for that.
_NO_SYNC_OF_FOLDERS = {
    errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM,
}  # fmt: skip

#: What to do about what the system answers.
REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files",
    errno.ENOENT: "create the folder first",
    errno.EISDIR: "name a file in it",
    errno.ENOTDIR: "a file is there where a folder should be: choose another place",
}


def cannot_write(path: Path, error: OSError | ValueError) -> Exception:
    """What is raised when the system refuses a write: says the path, the cause and a remedy."""
    if not isinstance(error, OSError):  # a NUL in the path
        return StorageError(f"cannot write {str(path)!r}: {error}; rename it")
    remedy = REMEDIES.get(error.errno or 0, "choose a place that can be written to")
    return StorageError(f"cannot write {str(path)!r}: {error.strerror or error}; {remedy}")


#: Makes the exception for a path that the system refused to write.
Refusal = Callable[[Path, OSError | ValueError], Exception]


@final
class ReplacedFile(io.RawIOBase):
    """A temporary file that becomes the target when its ``with`` block ends without an error.

    When the block raises, or the disk refuses, the temporary file is deleted and the target stays
    as it was. Refusals of the system are raised as what ``refusal`` makes of them; exceptions of
    the block itself pass through.

    Args:
        path: the target; its folder exists.
        refusal: makes the exception.
        sweep: whether a user named the target: a pipe or device (``/dev/null``) is then refused,
            and what killed writers of the same target left is removed; that lists the folder.
    """

    def __init__(self, path: Path, refusal: Refusal = cannot_write, *, sweep: bool = False) -> None:
        self._path, self._refusal, self._sweep = path, refusal, sweep
        self._temporary = path
        self._descriptor = self._lock = -1

    def __enter__(self) -> Self:
        with self._refusals():
            if self._path.exists():
                mode = self._path.stat().st_mode
                if self._sweep or stat.S_ISDIR(mode):
                    refuse_irregular(mode)
            if self._sweep:
                remove_leftovers(self._path.parent, self._path.name)
            while not self._create():
                pass
        return self

    def _create(self) -> bool:
        """Make a temporary file, and lock it; False if it was taken for a leftover meanwhile."""
        ending = f".tmp-{secrets.token_hex(8)}"
        fits = len(os.fsencode(self._path.name)) + len(ending) <= _LONGEST_NAME
        self._temporary = self._path.parent / (self._path.name + ending if fits else ending)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._temporary, flags, 0o666)
        if sys.platform == "win32":  # where no open file can be removed
            return True
        lost = False
        with suppress(OSError):  # a file system without locks
            self._lock = os.open(self._temporary, os.O_RDWR)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lost = True
        lost = lost or os.fstat(self._descriptor).st_nlink == 0
        if lost:
            os.close(self._descriptor)
            self._unlock()
            with suppress(OSError):
                os.unlink(self._temporary)
        return not lost

    def _unlock(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As of any file."""
        return os.lseek(self._descriptor, offset, whence)

    def write(self, content: ReadableBuffer, /) -> int:
        """Append all bytes of ``content``; their number."""
        every = memoryview(content).cast("B")
        rest = every
        with self._refusals():
            while rest.nbytes > 0:  # one call writes 2 GiB at most
                rest = rest[os.write(self._descriptor, rest) :]
        return every.nbytes

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        renamed = False
        try:
            with self._refusals():
                try:
                    if error is None:
                        os.fsync(self._descriptor)
                finally:
                    self.close()
                    os.close(self._descriptor)
                if error is None:
                    os.replace(self._temporary, self._path)
                    renamed = True
                    sync_folder(self._path.parent)
        finally:
            if not renamed:
                with suppress(OSError):
                    os.unlink(self._temporary)
            self._unlock()

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise self._refusal(self._path, error) from error


def replace_file(
    path: Path, content: bytes, refusal: Refusal = cannot_write, *, sweep: bool = False
) -> None:
    """Write a file whole, or leave it as it was; see ``ReplacedFile``."""
    with ReplacedFile(path, refusal, sweep=sweep) as file:
        file.write(content)


def remove_leftovers(folder: Path, target: str | None = None, *, folders: bool = False) -> None:
    """Remove temporary files whose writers have died; what cannot be removed stays.

    Args:
        folder: where they lie.
        target: name of the file that they were to become; any by default.
        folders: whether temporary folders are meant instead, with all that is in them.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            match = _OURS.search(name)
            if match and (target is None or name[: match.start()] in (target, "")):
                with suppress(OSError):
                    _remove_abandoned(folder / name, folders)


def _remove_abandoned(path: Path, folder: bool) -> None:
    """Remove a temporary file, or folder, if nobody writes it any more.

    Raises:
        OSError: the system refuses to say, or to remove it.
    """
    status = path.lstat()
    if not (stat.S_ISDIR if folder else stat.S_ISREG)(status.st_mode):
        return
    remove = partial(shutil.rmtree, path) if folder else path.unlink
    old = time.time() - status.st_mtime > _ABANDONED
    if sys.platform == "win32":  # which refuses to remove a file while it is open
        if old or not folder:
            remove()
        return
    flags = (os.O_RDONLY if folder else os.O_RDWR) | os.O_NOFOLLOW | os.O_NONBLOCK
    first = os.open(path, flags)
    try:
        if is_locked_out(first):
            return
        second = os.open(path, flags)
        try:  # a lock that keeps nobody out proves nothing
            if old or is_locked_out(second):
                remove()  # while it is locked here: nobody begins to write it
        finally:
            os.close(second)
    finally:
        os.close(first)


def is_locked_out(descriptor: int) -> bool:
    """Whether another holds the lock of a file; otherwise it is taken, where there are locks."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def sync_folder(folder: Path) -> None:
    """Make the renames and new names in a folder survive a power failure, where that is possible.

    A file system that cannot sync folders is no failure: nothing more can be done there.

    Raises:
        OSError: the disk failed.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows, where folders cannot be opened
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC_OF_FOLDERS:
            raise
