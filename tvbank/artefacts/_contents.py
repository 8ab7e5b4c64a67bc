"""What lies in a file or folder, looked at once, so that every format can say whether it is its."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

from tvbank._files import read_regular
from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint import (
    Checkpoint,
    TensorSpec,
    checkpoint_in,
    load_torch_file,
    open_checkpoint,
    regular_file_size,
    unreadable,
)
from tvbank.errors import CheckpointError

Kind: TypeAlias = Literal[
    "folder", "safetensors", "torch", "numpy", "wdelta", "gguf", "zip", "json", "unknown"
]

#: Bytes of a file's beginning that tell its kind.
_HEAD = 16


@final
class Contents:
    """A file or folder on this machine.

    Attributes:
        path: of it.
        source: the same as text, for messages.
    """

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        """Look at nothing yet.

        Args:
            path: of the file or folder.
            folder: that was named, if the file was found in it.
        """
        self.path, self.source, self.folder = path, str(path), folder

    @cached_property
    def kind(self) -> Kind:
        """What its first bytes say it is; a name alone says nothing.

        Raises:
            CheckpointError: it is missing, not readable, or a pipe or device.
        """
        try:
            if self.path.is_dir():
                return "folder"
            regular_file_size(self.path)
            with open(self.path, "rb") as file:
                head = file.read(_HEAD)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if head.startswith(b"wdelta\0"):
            return "wdelta"
        if head.startswith(b"GGUF"):
            return "gguf"
        if head.startswith(b"\x93NUMPY"):
            return "numpy"
        if head.startswith(b"PK\x03\x04"):
            return "torch" if self._holds_pickle() else "zip"
        if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
            return "torch"
        if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= MAX_JSON_BYTES:
            return "safetensors"
        return "json" if head.lstrip()[:1] == b"{" else "unknown"

    def _holds_pickle(self) -> bool:
        try:
            with zipfile.ZipFile(self.path) as archive:
                return any(name.endswith("data.pkl") for name in archive.namelist()[:2])
        except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
            return True  # opening it says what is wrong

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in a folder, hidden ones left out; none of a file."""
        if self.kind != "folder":
            return ()
        try:
            return tuple(sorted(name for name in os.listdir(self.path) if name[0] != "."))
        except OSError as error:
            raise unreadable(self.path, error) from error

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The file opened as a checkpoint: what its header says, and its tensors."""
        return open_checkpoint(self.path)

    @property
    def tensors(self) -> Mapping[str, TensorSpec]:
        """The tensors of a safetensors file; none of anything else."""
        if self.kind == "safetensors" and self.path.suffix.lower() == ".safetensors":
            return self.checkpoint.tensors
        return {}

    @cached_property
    def loaded(self) -> object:
        """What ``torch.save`` wrote into a file; None of anything else."""
        return load_torch_file(self.path) if self.kind == "torch" else None

    @cached_property
    def inner(self) -> Contents:
        """A folder's checkpoint file; a file itself.

        Raises:
            CheckpointError: the folder has none, or several.
        """
        if self.kind != "folder":
            return self
        return Contents(checkpoint_in(self.path), self.path)

    def json(self, name: str) -> Any:
        """A JSON document beside the file or in the folder; None if it is not there.

        Raises:
            CheckpointError: it is not JSON, or larger than any such document.
        """
        path = (self.path if self.kind == "folder" else self.path.parent) / name
        return read_json(path) if path.is_file() else None


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        CheckpointError: it cannot be read, is not JSON, or is larger than any such document.
    """
    try:
        return parse_json(read_regular(path, MAX_JSON_BYTES))
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise CheckpointError(f"{str(path)!r} is no JSON ({error}); fetch it again") from error
