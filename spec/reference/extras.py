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
_LEAST_WINDOW = 2**23


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


def _content_size(data: bytes) -> int:
    """The content size of one zstd frame (RFC 8878, 3.1.1) that is all there is, if it is sound."""
    require(len(data) > 4 and data[:4] == _MAGIC, "extra", "no zstd frame")
    flags = data[4]
    single, checksum = flags >> 5 & 1, flags >> 2 & 1
    require(not flags & 8, "extra", "a reserved bit")
    dictionary_at = 6 - single
    size_at = dictionary_at + _DICTIONARY_BYTES[flags & 3]
    width = _CONTENT_SIZE_BYTES[flags >> 6] or single
    at = size_at + width
    require(width > 0 and at <= len(data), "extra", "no content size")
    size = int.from_bytes(data[size_at:at], "little") + (256 if width == 2 else 0)
    require(not any(data[dictionary_at:size_at]), "extra", "a dictionary")
    base = 0 if single else 1 << 10 + (data[5] >> 3)
    window = base + base // 8 * (data[5] & 7)
    needed = 1 << max(0, size - 1).bit_length()
    require(window <= max(_LEAST_WINDOW, needed), "extra", f"a window of {window} bytes")
    last = 0
    while not last:
        require(at + 3 <= len(data), "extra", "a zstd frame cut short")
        block = int.from_bytes(data[at : at + 3], "little")
        last, kind = block & 1, block >> 1 & 3
        require(kind < 3, "extra", "a reserved block")
        at += 3 + (1 if kind == 1 else block >> 3)
    require(at + 4 * checksum == len(data), "extra", "more or less than one zstd frame")
    return size
