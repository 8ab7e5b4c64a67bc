"""Checkpoints in one safetensors file, and the header that says which tensor lies where.

Layout of a file: 8 bytes, the header's length N as an unsigned little-endian integer; N bytes of
JSON, name -> dtype, shape and data_offsets (begin and end, counted from the header's end); then the
data, without holes or overlaps.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
from safetensors import SafetensorError, safe_open

from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint._checkpoint import Checkpoint, TensorSpec, supported_spec
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.dtypes import DTYPES, ELEMENT_TYPES
from tvbank.errors import CheckpointError

__all__ = ["SafetensorsCheckpoint", "read_header", "read_texts"]

_NAMES = {row.code: name for name, row in ELEMENT_TYPES.items()}


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


def read_header(
    path: Path, file: BinaryIO, size: int, source: str | None = None
) -> dict[str, tuple[TensorSpec, int]]:
    """Read and check a header.

    The safetensors library is the judge of what is valid. What it accepts and the format forbids
    (a name twice) is refused here.

    Args:
        path: the file, for the library.
        file: the same file, open at its start.
        size: its length in bytes.
        source: how messages name it; by default by its path.

    Returns:
        name -> spec and position in the file in bytes, in ascending order of position.

    Raises:
        CheckpointError: not a safetensors file, truncated, too large a header, or an element type
            that no bank can hold.
    """
    named = str(path) if source is None else source
    text = _header_text(named, file, size)
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise _refusal(named, text, size, str(error)) from error
    except OSError as error:  # the library opens the file by itself
        raise unreadable(named, error) from error
    entries = _entries(named, text)
    entries.pop("__metadata__", None)
    placed = {name: _place(named, name, entry, 8 + len(text)) for name, entry in entries.items()}
    return dict(sorted(placed.items(), key=lambda item: item[1][1]))


def read_texts(path: Path) -> dict[str, str]:
    """The free texts in the header of a safetensors file (``__metadata__``); mostly ``format``.

    Raises:
        CheckpointError: as ``SafetensorsCheckpoint``.
    """
    try:
        with open(path, "rb") as file:
            text = _header_text(str(path), file, regular_file_size(path))
    except OSError as error:
        raise unreadable(path, error) from error
    texts = _entries(str(path), text).get("__metadata__", {})
    return {str(key): str(value) for key, value in texts.items()}


def _header_text(source: str, file: BinaryIO, size: int) -> bytes:
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if size <= 8:
        raise CheckpointError(f"{source!r} is truncated: it has {size} bytes; fetch it again")
    if prefix == b"version ":
        raise CheckpointError(
            f"{source!r} is a Git LFS pointer to the checkpoint; fetch it with git lfs pull"
        )
    if length > size - 8 and file.read(1) != b"{":
        raise CheckpointError(
            f"{source!r} is not a safetensors file; convert it to safetensors first"
        )
    if length > MAX_JSON_BYTES:
        raise CheckpointError(
            f"{source!r} has a header of {length} bytes, over the format's limit of "
            f"{MAX_JSON_BYTES}; the file is damaged, fetch it again"
        )
    if length > size - 8:
        raise CheckpointError(
            f"{source!r} is truncated: its header ends at byte {length + 8}, the file at "
            f"{size}; fetch it again"
        )
    return file.read(length)


def _entries(source: str, text: bytes) -> dict[str, Any]:
    """A header that the library has accepted; it takes a name that is there twice."""
    try:
        entries: dict[str, Any] = parse_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{source!r} has an ambiguous header ({error}); fetch it again"
        ) from error
    return entries


def _refusal(source: str, text: bytes, size: int, reason: str) -> CheckpointError:
    if "not fully covered" not in reason:
        return CheckpointError(
            f"{source!r} is not a valid safetensors file ({reason}); fetch it again"
        )
    # The library has checked all but the file's length, so the offsets can be read.
    entries = _entries(source, text)
    entries.pop("__metadata__", None)
    ends = [entry["data_offsets"][1] for entry in entries.values()]
    expected = 8 + len(text) + max(ends, default=0)
    fault = "is truncated" if size < expected else "has bytes left over"
    return CheckpointError(
        f"{source!r} {fault}: its header asks for {expected} bytes, the file has {size}; fetch "
        "it again"
    )


def _place(source: str, name: str, entry: dict[str, Any], start: int) -> tuple[TensorSpec, int]:
    dtype = _NAMES.get(entry["dtype"], entry["dtype"])
    spec = supported_spec(source, name, dtype, entry["shape"])
    return spec, start + entry["data_offsets"][0]
