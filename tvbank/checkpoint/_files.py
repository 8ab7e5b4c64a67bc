"""Files and folders of checkpoints on this machine: which file it is, and why it cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tvbank.errors import CheckpointError

__all__ = [
    "SAFETENSORS_INDEX",
    "TORCH_INDEX",
    "checkpoint_in",
    "regular_file_size",
    "unreadable",
]

SAFETENSORS_INDEX = ".safetensors.index.json"
TORCH_INDEX = ".bin.index.json"


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


def checkpoint_in(folder: Path, with_name: str | None = None) -> Path:
    """Find the one checkpoint of a folder, safetensors before torch's files.

    In this order: ``model.safetensors``, ``model.safetensors.index.json``, the only
    ``*.safetensors.index.json``, the only ``*.safetensors``, ``pytorch_model.bin``,
    ``pytorch_model.bin.index.json``. It is the order of the libraries that write such folders.

    Args:
        folder: where to look.
        with_name: of a file to take as there, too: what would be found if it were written.

    Returns:
        The path of a checkpoint's file or index.

    Raises:
        CheckpointError: none, or several to choose from.
    """
    try:
        there = {p.name for p in folder.iterdir() if p.is_file() and p.name[0] != "."}
    except OSError as error:
        raise unreadable(folder, error) from error
    names = sorted(there | ({with_name} if with_name else set()))
    for wanted in (
        ["model.safetensors"],
        [f"model{SAFETENSORS_INDEX}"],
        [name for name in names if name.endswith(SAFETENSORS_INDEX)],
        [name for name in names if name.endswith(".safetensors")],
        ["pytorch_model.bin"],
        [f"pytorch_model{TORCH_INDEX}"],
    ):
        present = [name for name in wanted if name in names]
        if len(present) > 1:
            raise CheckpointError(
                f"the folder {str(folder)!r} holds several checkpoints ({', '.join(present)}); "
                "name the one that you mean"
            )
        if present:
            return folder / present[0]
    raise CheckpointError(
        f"the folder {str(folder)!r} holds no checkpoint: looked for model.safetensors, an index "
        f"*{SAFETENSORS_INDEX}, a single *.safetensors file, pytorch_model.bin and "
        f"pytorch_model{TORCH_INDEX}; name the file itself if it is called otherwise"
    )
