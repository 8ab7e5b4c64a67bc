"""What lies where in the demo's folder; nothing that is already there is ever written over."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from tvbank._atomic import replace_file
from tvbank.errors import StorageError, UsageError

_MADE_BY = "tvbank demo"


@final
@dataclass(frozen=True)
class DemoFolder:
    """The places of everything that the demo leaves behind.

    Attributes:
        path: the folder itself.
    """

    path: Path

    @classmethod
    def make(cls, path: Path) -> DemoFolder:
        """Take a folder that does not exist yet or is empty.

        Raises:
            UsageError: there is something at that place.
            StorageError: the folder cannot be made.
        """
        folder = cls(path)
        try:
            if path.exists() and not (path.is_dir() and not any(path.iterdir())):
                raise UsageError(_occupied(folder))
            for made in (folder.checkpoints, folder.exports):
                made.mkdir(parents=True)
            folder.note({"finished": False})
        except OSError as error:
            if isinstance(error, StorageError):
                raise
            raise StorageError(f"cannot make the folder {path}: {error.strerror}") from error
        return folder

    @property
    def base(self) -> Path:
        """The base's weights."""
        return self.path / "base.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of the fine-tunes as they were trained."""
        return self.path / "checkpoints"

    @property
    def bank(self) -> Path:
        """The bank."""
        return self.path / "bank"

    @property
    def exports(self) -> Path:
        """The folder of the fine-tunes as they came out of the bank."""
        return self.path / "exports"

    @property
    def summary(self) -> Path:
        """The demo's result, and the mark by which it knows its own folders."""
        return self.path / "demo.json"

    def checkpoint(self, task: str) -> Path:
        """A fine-tune as it was trained: encoder and head."""
        return self.checkpoints / f"{task}.safetensors"

    def export(self, task: str) -> Path:
        """A fine-tune as it came out of the bank."""
        return self.exports / f"{task}.safetensors"

    def note(self, result: Mapping[str, Any]) -> None:
        """Write the summary."""
        text = json.dumps({"made_by": _MADE_BY, **result}, indent=2)
        replace_file(self.summary, f"{text}\n".encode())

    def made_by_demo(self) -> bool:
        """Whether an earlier demo made this folder."""
        try:
            found = json.loads(self.summary.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(found, dict) and found.get("made_by") == _MADE_BY


def _occupied(folder: DemoFolder) -> str:
    path = folder.path
    if not path.is_dir():
        return f"{path} is a file: name another folder for the demo"
    if folder.made_by_demo():
        remove = f"rm -r {shlex.quote(str(path))}"
        return f"{path} holds an earlier demo: remove it ({remove}) or name another folder"
    return f"{path} is not empty and no demo made it: name another folder for the demo"
