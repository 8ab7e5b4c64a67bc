"""What a Zstandard frame says before it is decompressed (RFC 8878, 3.1.1), and where it ends.

The library decompresses several frames one after the other, skips those that it is told to skip,
and a streaming one takes as much memory as the frame asks for: a chunk has one frame and nothing
else, and its window is no larger than needed.
"""

from __future__ import annotations

from tvbank.errors import FormatError

_MAGIC = bytes.fromhex("28b52ffd")
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CHECKSUM_BYTES = 4
_BLOCK_HEADER_BYTES = 3
_REPEATED, _RESERVED = 1, 3

#: Every decoder should have as much memory for a window (RFC 8878, 3.1.1.1.2).
LEAST_WINDOW = 2**23


def content_size(data: bytes) -> int:
    """The size that one frame states for its content, if it is all there is and asks for no more.

    Raises:
        FormatError: ``extra``; no frame, no size, a dictionary, a window larger than 8 MiB and than
            the content needs, a reserved bit; or there is more than one frame, or less.
    """
    if len(data) < 5 or data[:4] != _MAGIC:
        raise _refusal("are no Zstandard frame")
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    if descriptor >> 3 & 1:
        raise _refusal("have a reserved bit")
    dictionary_at = 5 + (1 - single_segment)
    size_at = dictionary_at + _DICTIONARY_BYTES[descriptor & 3]
    width = _CONTENT_SIZE_BYTES[descriptor >> 6] or single_segment
    blocks_at = size_at + width
    if len(data) < blocks_at or not width:
        raise _refusal("state no size")
    size = int.from_bytes(data[size_at:blocks_at], "little") + (256 if width == 2 else 0)
    if any(data[dictionary_at:size_at]):
        raise _refusal("need a dictionary")
    window = size if single_segment else _window(data[5])
    if window > max(LEAST_WINDOW, _power_of_two_from(size)):
        raise _refusal(f"ask for a window of {window} bytes to hold {size}")
    end = _end_of_blocks(data, blocks_at) + _CHECKSUM_BYTES * (descriptor >> 2 & 1)
    if end != len(data):
        raise _refusal("are more than one frame" if end < len(data) else "end within a frame")
    return size


def _window(descriptor: int) -> int:
    base: int = 1 << 10 + (descriptor >> 3)
    return base + base // 8 * (descriptor & 7)


def _power_of_two_from(size: int) -> int:
    return 1 << max(0, size - 1).bit_length()


def _end_of_blocks(data: bytes, at: int) -> int:
    """Where the last block ends; beyond the data if it does not end there."""
    last = 0
    while not last and at < len(data):
        header = int.from_bytes(data[at : at + _BLOCK_HEADER_BYTES], "little")
        last, kind = header & 1, header >> 1 & 3
        if kind == _RESERVED:
            raise _refusal("have a block of a reserved kind")
        at += _BLOCK_HEADER_BYTES + (1 if kind == _REPEATED else header >> 3)
    return at if last else len(data) + 1


def _refusal(what: str) -> FormatError:
    return FormatError("extra", f"its bytes {what}")
