"""One zstd frame: made, and read back within bounds that the caller knows."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

if sys.version_info >= (3, 14):
    from compression.zstd import (
        CompressionParameter,
        DecompressionParameter,
        ZstdDecompressor,
        ZstdError,
        compress,
    )
else:
    from backports.zstd import (
        CompressionParameter,
        DecompressionParameter,
        ZstdDecompressor,
        ZstdError,
        compress,
    )

#: Bytes that are decompressed at a time.
_PIECE = 1 << 18
#: A frame that is one segment has a window of all its bytes: nothing short of 2 GiB is refused.
_WINDOW_LOG = 31


def compress_frame(data: bytes, level: int, checksum: bool = False) -> bytes:
    """One frame that states its content's size, and its checksum if asked."""
    parameters: dict[int, int] = {
        CompressionParameter.compression_level: level,
        CompressionParameter.checksum_flag: int(checksum),
    }
    return bytes(compress(data, options=parameters))


def decompress_frame(frame: bytes, out: NDArray[np.uint8]) -> None:
    """Fill ``out`` with a frame's content.

    Raises:
        ValueError: the frame is damaged, its content is not of that size, or something follows it.
    """
    stream: Any = ZstdDecompressor(options={DecompressionParameter.window_log_max: _WINDOW_LOG})
    at, data = 0, frame
    try:
        while not stream.eof:
            # One byte more than belongs: content that is too long shows, and so does a checksum.
            piece = stream.decompress(data, max_length=min(_PIECE, out.size - at + 1))
            if at + len(piece) > out.size or (not piece and not stream.eof and stream.needs_input):
                raise ValueError(f"it does not hold {out.size} bytes")
            out[at : at + len(piece)] = np.frombuffer(piece, np.uint8)
            at, data = at + len(piece), b""
    except ZstdError as error:
        raise ValueError(str(error)) from error
    if stream.unused_data or at != out.size:
        raise ValueError(f"it does not hold {out.size} bytes in one frame")
