"""The work folder: finished jobs of unfinished tasks, and notes of what finished tasks came from.

=====================  ===================================================================
``notes/<task>.json``  key and revision of a task that was built
``<key>/<number>``     packed result of a job of a task under way, whole or not at all
=====================  ===================================================================

A task's *key* is a digest of all that its revision depends on. Who removes the folder loses time,
nothing else.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import final

import msgspec

from tvbank._atomic import replace_file
from tvbank.errors import StorageError
from tvbank.layout import Digest

_NOTES = "notes"


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What a task in the bank was made from.

    Attributes:
        key: of the task.
        identity: of its checkpoint.
        revision: that it became.
    """

    key: Digest
    identity: Digest
    revision: Digest


@final
class WorkFolder:
    """Files below one folder; each is written aside and renamed."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def note(self, task: str) -> Note | None:
        """What is known of a task."""
        try:
            return msgspec.json.decode(
                (self._root / _NOTES / f"{task}.json").read_bytes(), type=Note
            )
        except (OSError, msgspec.MsgspecError):
            return None

    def remember(self, task: str, note: Note) -> None:
        """Note what a task came from, and forget its jobs."""
        self._write(self._root / _NOTES / f"{task}.json", msgspec.json.encode(note))
        shutil.rmtree(self._root / note.key, ignore_errors=True)

    def has(self, key: str, job: int) -> bool:
        """Whether there is a result of a job."""
        return (self._root / key / str(job)).is_file()

    def put(self, key: str, job: int, packed: bytes) -> None:
        """Keep the result of a job.

        Raises:
            StorageError: the disk refused.
        """
        self._write(self._root / key / str(job), packed)

    def get(self, key: str, job: int) -> bytes:
        """The result of a job; nothing, if it was removed meanwhile.

        Raises:
            StorageError: the disk refused.
        """
        path = self._root / key / str(job)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror or error}") from error

    def drop(self, key: str, job: int) -> None:
        """Forget the result of a job."""
        (self._root / key / str(job)).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Forget the jobs of all tasks: nothing is under way."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if path.name != _NOTES and path.is_dir() and len(path.name) == 64:
                shutil.rmtree(path, ignore_errors=True)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refusal(path, error) from error
        replace_file(path, data, _refusal)


def _refusal(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or error
    return StorageError(
        f"cannot write {path}: {why}; free some space, or name another work folder (work=, --work)"
    )
