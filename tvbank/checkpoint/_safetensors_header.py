"""The header of a safetensors file: which tensor lies where.

Layout of a file: 8 bytes, the header's length N as an unsigned little-endian integer; N bytes of
JSON, name -> dtype, shape and data_offsets (begin and end, counted from the header's end); then the
data, without holes or overlaps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError, safe_open

from tvbank.checkpoint._json import MAX_JSON_BYTES, parse_json
from tvbank.checkpoint._spec import TensorSpec, supported_spec
from tvbank.errors import CheckpointError

__all__ = ["DTYPE_CODES", "read_header"]

#: The format's names of the element types that a bank can hold.
DTYPE_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
_DTYPES = {code: name for name, code in DTYPE_CODES.items()}


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
    try:
        entries = parse_json(text)
    except ValueError as error:
        raise CheckpointError(
            f"{named!r} has an ambiguous header ({error}); fetch it again"
        ) from error
    entries.pop("__metadata__", None)
    placed = {name: _place(named, name, entry, 8 + len(text)) for name, entry in entries.items()}
    return dict(sorted(placed.items(), key=lambda item: item[1][1]))


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


def _refusal(source: str, text: bytes, size: int, reason: str) -> CheckpointError:
    if "not fully covered" not in reason:
        return CheckpointError(
            f"{source!r} is not a valid safetensors file ({reason}); fetch it again"
        )
    # All but the file's length was found sound, so the offsets can be read.
    entries = parse_json(text)
    entries.pop("__metadata__", None)
    ends = [entry["data_offsets"][1] for entry in entries.values()]
    expected = 8 + len(text) + max(ends, default=0)
    fault = "is truncated" if size < expected else "has bytes left over"
    return CheckpointError(
        f"{source!r} {fault}: its header asks for {expected} bytes, the file has {size}; fetch "
        "it again"
    )


def _place(source: str, name: str, entry: dict[str, Any], start: int) -> tuple[TensorSpec, int]:
    dtype = _DTYPES.get(entry["dtype"], entry["dtype"])
    spec = supported_spec(source, name, dtype, entry["shape"])
    return spec, start + entry["data_offsets"][0]
