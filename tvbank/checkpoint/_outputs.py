"""Outputs that must not replace what they are made from: the files of the checkpoint being read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._files import checkpoint_in
from tvbank.checkpoint._open import CheckpointSource, checkpoint_files
from tvbank.errors import CheckpointError, UsageError
from tvbank.storage import local_file

__all__ = ["is_one_of", "refuse_replacing"]


def refuse_replacing(
    out: str | os.PathLike[str], source: CheckpointSource, what: str = "base"
) -> None:
    """Refuse to write where a checkpoint is read from, under whatever name.

    Args:
        out: the file to be written; need not be there.
        source: the checkpoint that is read meanwhile; every file of it counts, an index's shards
            too, also if it is named by another path, a link or a URL.
        what: it is, for the message.

    Raises:
        UsageError: ``out`` is one of its files; or would be taken for the checkpoint from then on,
            since that is named by its folder.
    """
    path = local_file(out)
    files = checkpoint_files(source)
    if is_one_of(path, files):
        part = "itself" if len(files) == 1 else "itself, one of its files"
        raise UsageError(f"{path} is the {what} {part}: choose another output file")
    if isinstance(source, Checkpoint) or not isinstance(source, str | os.PathLike) or not files:
        return
    folder = Path(source)
    if folder.is_dir() and path.parent.is_dir() and path.parent.samefile(folder):
        try:
            changes = checkpoint_in(folder, path.name) != checkpoint_in(folder)
        except CheckpointError:  # there would be several to choose from
            changes = True
        if changes:
            raise UsageError(
                f"{path} would be taken for the {what}, which is named by its folder: choose "
                "another folder for the output"
            )


def is_one_of(path: Path, files: Iterable[Path]) -> bool:
    """Whether a path leads to one of these files; hard and symbolic links do."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return False
    for file in files:
        try:
            if os.path.samestat(found, file.stat()):
                return True
        except (OSError, ValueError):
            continue
    return False
