"""Files that others may have put there: only regular files are read, and no more than allowed.

Opening a pipe waits until somebody writes to it, and a device may have no end.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO


def open_regular(path: str | os.PathLike[str]) -> FileIO:
    """Open a file to read, without a buffer and without waiting; links are followed.

    Raises:
        OSError: it cannot be opened, or is a folder, pipe, socket or device.
        ValueError: a NUL in the path.
    """
    return open(path, "rb", buffering=0, opener=_open_at_once)


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """All of a file.

    Args:
        path: of the file.
        most: bytes that it may have; a larger one is not read.

    Raises:
        OSError: as ``open_regular``, or the file is larger; its ``strerror`` says so.
        ValueError: a NUL in the path.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size} bytes, more than the {most} it may have")
        content = bytearray()
        while len(content) <= size and (part := file.read(size + 1 - len(content))):
            content += part
    if len(content) != size:
        raise OSError(errno.EBUSY, "it was written while it was read")
    return bytes(content)


def _open_at_once(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    try:
        refuse_irregular(os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_irregular(mode: int) -> None:
    """Refuse what is no regular file, given its ``st_mode``.

    Raises:
        OSError: its ``strerror`` says what it is.
    """
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file, but a pipe, a socket or a device")
