"""Write a safetensors file as a stream, one tensor in memory at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tvbank._atomic import ReplacedFile
from tvbank._json import MAX_JSON_BYTES
from tvbank.checkpoint._checkpoint import TensorSpec
from tvbank.dtypes import DTYPES, ELEMENT_TYPES
from tvbank.errors import UsageError
from tvbank.storage import local_file

__all__ = ["aligned_order", "write_safetensors"]


def aligned_order(specs: Iterable[TensorSpec]) -> list[TensorSpec]:
    """Sort specs so that every tensor of the file starts at a multiple of its item size.

    Larger items come first, else the order is kept. The format allows no padding between tensors,
    so in another order an odd number of bytes shifts all that follow.
    """
    return sorted(specs, key=lambda spec: -DTYPES[spec.dtype].itemsize)


def write_safetensors(
    path: str | os.PathLike[str],
    specs: Sequence[TensorSpec],
    tensors: Callable[[str], np.ndarray[Any, Any]] | Iterable[np.ndarray[Any, Any]],
    metadata: Mapping[str, str] | None = None,
    late: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Write a safetensors file, completely or not at all.

    Header and data keep the order of ``specs`` (see ``aligned_order``). The bytes go to a temporary
    file beside ``path``, which takes its place at the end; after any failure ``path`` is what it
    was before.

    Args:
        path: the file to write or to replace; its folder exists.
        specs: what the tensors are; all names distinct. Aliases of tied tensors are left out.
        tensors: name -> array, or the arrays in the order of ``specs``; asked for one by one. Any
            strides and byte order; element type and shape as the spec says.
        metadata: the header's free texts. None stands for ``{"format": "pt"}``, without which
            Hugging Face's libraries refuse to load a file.
        late: makes the texts that take the place of ``metadata`` once all arrays are written, such
            as their digest; of the same length.

    Raises:
        UsageError: specs that a file cannot hold, or arrays that differ from them.
        StorageError: the disk is full, read-only, or has no such folder.
    """
    header = _header(specs, {"format": "pt"} if metadata is None else metadata)
    arrays = map(tensors, [spec.name for spec in specs]) if callable(tensors) else iter(tensors)
    with ReplacedFile(local_file(path), sweep=True) as file:
        file.write(header)
        for spec in specs:
            # No variable holds the array: it must be gone before the next one is made.
            file.write(_contents(spec, _next(spec, arrays)))
        if next(arrays, None) is not None:
            raise UsageError(f"there are more arrays than the {len(specs)} specs; pass as many")
        if late is not None:
            again = _header(specs, late())
            if len(again) != len(header):
                raise UsageError("texts that come late must be as long as those they replace")
            file.seek(0)
            file.write(again)


def _header(specs: Sequence[TensorSpec], metadata: Mapping[str, str]) -> bytes:
    """Eight bytes of length and the JSON, filled up with spaces to a multiple of 8 bytes."""
    if not all(isinstance(text, str) for member in metadata.items() for text in member):
        raise UsageError("the metadata of a safetensors file are texts; convert the values to str")
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for spec in specs:
        if spec.name in entries or spec.name == "__metadata__":
            raise UsageError(f"tensor {spec.name!r} is there twice or reserved; rename it")
        if spec.dtype not in ELEMENT_TYPES or any(side < 0 for side in spec.shape):
            raise UsageError(
                f"tensor {spec.name!r} cannot be {spec.dtype} {list(spec.shape)}; correct its spec"
            )
        end = begin + spec.nbytes
        entries[spec.name] = {
            "dtype": ELEMENT_TYPES[spec.dtype].code,
            "shape": [int(side) for side in spec.shape],
            "data_offsets": [begin, end],
        }
        begin = end
    try:
        text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise UsageError("a name or the metadata is not valid Unicode; rename it") from error
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_JSON_BYTES:
        raise UsageError(
            f"the header of {len(specs)} tensors takes {len(text)} bytes, over the format's limit "
            f"of {MAX_JSON_BYTES}; write several files"
        )
    return len(text).to_bytes(8, "little") + text


def _next(spec: TensorSpec, arrays: Iterator[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    try:
        return next(arrays)
    except StopIteration:
        raise UsageError(f"there is no array for tensor {spec.name!r}; pass one a spec") from None


def _contents(spec: TensorSpec, array: np.ndarray[Any, Any]) -> memoryview:
    """The array's bytes as they lie in the file."""
    dtype = DTYPES[spec.dtype]
    if array.dtype.name != dtype.name or array.shape != spec.shape:
        raise UsageError(
            f"tensor {spec.name!r} was announced as {spec.dtype} {list(spec.shape)} and is "
            f"{array.dtype.name} {list(array.shape)}; pass what the spec says"
        )
    flat = np.ascontiguousarray(array, dtype).reshape(-1)
    return flat.view(np.uint8).data
