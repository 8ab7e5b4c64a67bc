"""Answers of an object store: taken as they arrive, and never more of them than was asked for."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from tvbank.errors import StorageError
from tvbank.storage._storage import ByteRange

#: Bytes that are taken out of the client at once.
_PIECE = 2**22

#: Ranges with fewer bytes than this between them are worth one request.
_COALESCE = 2**14

#: What a server may do to an object's bytes on their way, although nobody asked it to.
_COMPRESSIONS = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"}


def receive(result: Any, most: int | None = None) -> bytes:
    """The bytes of obstore's answer; of one that is longer than ``most``, only so many.

    The connection of an answer that is too long is closed: what else it holds is not received. In
    memory is what was asked for, and one piece.

    Raises:
        StorageError: the bytes are compressed, so that they are none of the object's.
    """
    coding = result.attributes.get("Content-Encoding")
    if str(coding).lower() in _COMPRESSIONS:
        raise StorageError(
            f"the server compresses what it sends (Content-Encoding: {str(coding).lower()}), so "
            "that its bytes are not the object's: turn compression off there, or store the object "
            "without that header"
        )
    pieces = iter(result.stream(min_chunk_size=_PIECE if most is None else min(_PIECE, most + 1)))
    first: bytes = next(pieces, b"")
    if most is not None and len(first) >= most:
        return first[:most]
    second = next(pieces, b"")
    if not second:
        return first
    whole = io.BytesIO()  # its value is not copied
    whole.write(first)
    del first
    while second:
        whole.write(second)
        if most is not None and whole.tell() >= most:
            whole.truncate(most)
            break
        second = next(pieces, b"")
    return whole.getvalue()


def neighbours(ranges: Sequence[ByteRange]) -> list[ByteRange]:
    """The ranges to ask for: those near to each other are one."""
    merged: list[ByteRange] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1] + _COALESCE:
            start, stop = merged[-1][0], max(merged.pop()[1], stop)
        merged.append((start, stop))
    return merged


def cut(starts: Sequence[int], parts: Sequence[bytes], start: int, stop: int) -> bytes:
    """A range of an object, out of parts of it that begin at ``starts``; one of them holds it.

    A part that ends too early is of an object that does.
    """
    which = bisect_right(starts, start) - 1
    at, part = starts[which], parts[which]
    return part if (at, len(part)) == (start, stop - start) else part[start - at : stop - at]
