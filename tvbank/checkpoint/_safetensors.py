"""Checkpoints in one safetensors file."""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any, final

import numpy as np

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.checkpoint._safetensors_header import read_header
from tvbank.checkpoint._spec import TensorSpec
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError

__all__ = ["SafetensorsCheckpoint"]


@final
class SafetensorsCheckpoint(Checkpoint):
    """A ``.safetensors`` file through one memory map.

    Reading a tensor lets go of the pages of the one before, so that a pass over a file of any size
    keeps about one tensor resident. A file that has shrunk is noticed when the next tensor is read,
    but must not shrink under an array that is in use: the operating system kills a process that
    touches a mapped page which is gone.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, read its header and map it.

        Raises:
            CheckpointError: the file is missing, not readable, or not sound.
        """
        regular_file_size(path)
        try:
            with open(path, "rb") as file:
                self._size = os.fstat(file.fileno()).st_size
                self._placed = read_header(path, file, self._size)
                self._map = mmap.mmap(file.fileno(), self._size, access=mmap.ACCESS_READ)
        except OSError as error:
            raise unreadable(path, error) from error
        super().__init__(str(path), {name: spec for name, (spec, _) in self._placed.items()}, {})

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        size = self._map.size()
        if size < self._size:
            raise CheckpointError(
                f"{self.source!r} shrank from {self._size} to {size} bytes while it was read; "
                "leave the file alone meanwhile"
            )
        if hasattr(mmap, "MADV_DONTNEED"):
            # The pages are the file's: a later look at an earlier tensor finds them again.
            self._map.madvise(mmap.MADV_DONTNEED)
        _, position = self._placed[spec.name]
        flat = np.frombuffer(self._map, DTYPES[spec.dtype], spec.size, position)
        return flat.reshape(spec.shape)

    def _close(self) -> None:
        with contextlib.suppress(BufferError):  # arrays still look at it; it goes when they do
            self._map.close()
