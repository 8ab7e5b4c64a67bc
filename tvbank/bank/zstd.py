"""Compressing the chunks of extras with zstd, and decompressing them into no more than expected."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.room import room
from tvbank.errors import FormatError

if TYPE_CHECKING:
    from numcodecs.zstd import Zstd

_MAGIC = bytes.fromhex("28b52ffd")
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)

#: A block takes 4 bytes at least and holds 2**17 at most.
_LARGEST_RATIO = 2**15


@cache
def _zstd() -> Zstd:
    from numcodecs.zstd import Zstd  # slow to import, and many banks have no extras

    return Zstd(level=3, checksum=True)


def compress(data: bytes) -> bytes:
    """One frame that states its content's size and checksum."""
    return bytes(_zstd().encode(data))


def decompress(data: bytes, size: int) -> NDArray[np.uint8]:
    """Undo ``compress``.

    The content's size is compared before anything is allocated: a bomb finds no room, and the
    library, which would leave the rest of a larger buffer as it is, fills it whole.

    Args:
        data: one frame.
        size: bytes of the content.

    Raises:
        FormatError: ``extra``; the data are damaged, or hold another number of bytes.
        TooLargeError: there is not enough memory.
    """
    stated = _content_size(data)
    if stated != size or size > len(data) * _LARGEST_RATIO:
        raise FormatError("extra", f"{len(data)} bytes state {stated} where {size} belong")
    what, remedy = "a chunk of an extra", "see Task.extras.record for its shape"
    out = room(size, np.dtype(np.uint8), what, remedy)
    try:
        _zstd().decode(data, out)
    except (RuntimeError, ValueError) as error:
        raise FormatError("extra", str(error)) from error
    return out


def _content_size(data: bytes) -> int | None:
    """The content's size as the frame's header states it (RFC 8878, 3.1.1.1), if it does."""
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
