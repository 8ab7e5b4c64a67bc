"""Operating-system errors in the words of one clear sentence."""

from __future__ import annotations

import os

from tvbank.errors import CheckpointError

__all__ = ["unreadable"]


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
            reason = f"it cannot be read ({error.strerror or error})"
    return CheckpointError(f"{os.fspath(path)!r}: {reason}")
