"""Extras: tensors kept whole as zarr arrays of zstd frames (container.md, "Extras")."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .arrays import chunk_shape
from .invalid import Invalid, require
from .layout import DTYPE_BYTES, Tensor

_MAGIC = bytes.fromhex("28b52ffd")
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)


def chunk_size(extra: Tensor) -> int:
    """Bytes of every decompressed chunk, the padding of the last one included."""
    return math.prod(chunk_shape(extra)) * DTYPE_BYTES[extra.dtype]


def join_chunks(extra: Tensor, chunks: Sequence[bytes]) -> bytes:
    """The raw little-endian bytes of an extra from its compressed chunks.

    Raises:
        Invalid: ``extra``.
    """
    rows = b"".join(_decompress(chunk, chunk_size(extra)) for chunk in chunks)
    return rows[: extra.size * DTYPE_BYTES[extra.dtype]]


def _decompress(data: bytes, size: int) -> bytes:
    """Undo zstd; the size is checked first, so that a bomb finds no room."""
    stated = _content_size(data)
    require(stated == size, "extra", f"a chunk of {stated} bytes where {size} belong")
    from numcodecs.zstd import Zstd

    out = bytearray(size)
    try:
        Zstd().decode(data, out)
    except (RuntimeError, ValueError) as error:
        raise Invalid("extra", f"a chunk does not decompress: {error}") from error
    return bytes(out)


def _content_size(data: bytes) -> int | None:
    """The content size in the header of a zstd frame (RFC 8878, 3.1.1.1), if it is there."""
    if len(data) < 5 or data[:4] != _MAGIC:
        return None
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    width = _CONTENT_SIZE_BYTES[descriptor >> 6] or single_segment
    start = 5 + (1 - single_segment) + _DICTIONARY_BYTES[descriptor & 3]
    field = data[start : start + width]
    if not width or len(field) < width:
        return None
    return int.from_bytes(field, "little") + (256 if width == 2 else 0)
