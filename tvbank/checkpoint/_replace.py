"""Replace a file whole, or leave it as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self, final

from tvbank.errors import StorageError

__all__ = ["ReplacedFile"]

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on the size of files",
    errno.ENOENT: "create the folder first",
    errno.ENOTDIR: "create the folder first",
}


@final
class ReplacedFile:
    """A file ``.tmp-…`` in the target's folder that becomes the target when its block ends well.

    It reaches the disk before it is renamed. When the block raises, or the disk does, it is deleted
    and the target stays. What the operating system refuses is a ``StorageError``; what the block
    itself raises passes through.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path.parent / f".tmp-{secrets.token_hex(8)}"
        self._descriptor = -1

    def __enter__(self) -> Self:
        with self._refusals():
            if self._path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._temporary, flags, 0o666)
        return self

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes; a memoryview is one of bytes.

        Raises:
            StorageError: the operating system refused.
        """
        rest = memoryview(content)
        with self._refusals():
            while rest.nbytes > 0:  # one call writes 2 GiB at most
                rest = rest[os.write(self._descriptor, rest) :]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            with self._refusals():
                try:
                    if error is None:
                        os.fsync(self._descriptor)
                finally:
                    os.close(self._descriptor)
                if error is None:
                    os.replace(self._temporary, self._path)
                    _sync_folder(self._path.parent)
        finally:
            with contextlib.suppress(OSError):  # gone already if all went well
                os.unlink(self._temporary)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # a NUL in the path
            raise StorageError(f"cannot write {str(self._path)!r}: {error}; rename it") from error
        except OSError as error:
            remedy = _REMEDIES.get(error.errno or 0, "choose a place that can be written to")
            raise StorageError(
                f"cannot write {str(self._path)!r}: {error.strerror or error}; {remedy}"
            ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where folders can be synchronised."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
