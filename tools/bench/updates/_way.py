"""What a way to store an update has to do, and the pieces of a file that threads share."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

#: Threads of every way that can have some, and cores that its process may use.
THREADS = 2
#: Bytes that a thread takes at a time.
_PIECE = 2**24
_LENGTH = 8
_WIDTHS = {"BF16": 2, "F16": 2, "F32": 4, "F64": 8, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}


class CannotError(Exception):
    """Why a way cannot store an update."""


class Way(ABC):
    """One way to store what leads from one safetensors file to another, and to restore that.

    Attributes:
        label: what tables call it.
        package: that has to be installed, and its version counts; nothing if there is none.
    """

    label: ClassVar[str]
    package: ClassVar[str] = ""

    def __init__(self, old: Path, new: Path, folder: Path) -> None:
        """Take the files, and an empty folder to write to."""
        self.old, self.new, self.folder = old, new, folder
        self.update, self.out = folder / "update", folder / "restored.safetensors"

    def prepare(self) -> None:
        """Import and convert what users of this way have anyway; its time does not count."""
        return

    @abstractmethod
    def encode(self) -> int:
        """Write the update; returns its bytes."""

    @abstractmethod
    def restore(self) -> None:
        """Make the new state in a file, from the old one and the update."""

    def restored(self) -> Path:
        """The new state as a safetensors file; its time does not count."""
        return self.out


@dataclass(frozen=True)
class Piece:
    """A part of the data of one tensor.

    Attributes:
        begin, end: bytes of the data section.
        width: bytes of an entry.
    """

    begin: int
    end: int
    width: int


class RawFile:
    """A safetensors file as bytes: its header, and a map of its data section."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            self.header = length.to_bytes(_LENGTH, "little") + file.read(length)
        self.data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r", offset=len(self.header))

    def pieces(self) -> Iterator[Piece]:
        """All of the data section, tensor by tensor, in pieces that threads can share."""
        tensors = json.loads(self.header[_LENGTH:])
        tensors.pop("__metadata__", None)
        for tensor in tensors.values():
            first, last = tensor["data_offsets"]
            for begin in range(first, last, _PIECE):
                yield Piece(begin, min(last, begin + _PIECE), _WIDTHS[tensor["dtype"]])


def pair_of(old: Path, new: Path) -> tuple[RawFile, RawFile]:
    """Two files whose tensors lie at the same places.

    Raises:
        CannotError: they do not.
    """
    before, after = RawFile(old), RawFile(new)
    if list(before.pieces()) != list(after.pieces()):
        raise CannotError("the tensors of the two files lie at other places")
    return before, after
