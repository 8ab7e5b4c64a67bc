"""Files that may be missing, forbidden or no files at all, in the words of one clear sentence."""

from __future__ import annotations

import os
import stat

from tvbank.errors import CheckpointError

__all__ = ["regular_file_size", "unreadable"]


def regular_file_size(path: str | os.PathLike[str]) -> int:
    """The size of a file in bytes; asked before it is opened, since a pipe would block for ever.

    Raises:
        CheckpointError: missing, not accessible, or a folder, pipe, socket or device.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{os.fspath(path)!r} is not a file; name a checkpoint's file")
    return status.st_size


def unreadable(path: str | os.PathLike[str], error: OSError | ValueError) -> CheckpointError:
    """Say why a checkpoint's file or folder cannot be read.

    Args:
        path: the file or folder.
        error: what the operating system said; ``ValueError`` is Python's for a NUL in a path.

    Returns:
        The error to raise ``from`` the given one.
    """
    match error:
        case FileNotFoundError() | NotADirectoryError() | ValueError():
            reason = "there is no such file or folder; check the path (a model that lives on a hub "
            reason += "must be downloaded first)"
        case PermissionError():
            reason = "permission denied; ask for the right to read it"
        case _:
            reason = f"it cannot be read ({error.strerror or error}); check the disk or fetch it "
            reason += "again"
    return CheckpointError(f"{os.fspath(path)!r}: {reason}")
