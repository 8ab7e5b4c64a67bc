"""How large a zip file's directory is, asked before the directory is read."""

from __future__ import annotations

import os
from typing import BinaryIO

__all__ = ["directory_bytes"]

_END, _END_BYTES = b"PK\x05\x06", 22
_LOCATOR, _LOCATOR_BYTES = b"PK\x06\x07", 20
_LARGE_END, _LARGE_END_BYTES = b"PK\x06\x06", 56

#: The longest comment after a directory.
_COMMENT_BYTES = 2**16


def directory_bytes(file: BinaryIO) -> int:
    """Bytes of a zip file's directory, as Python's ``zipfile`` would read it; 0 if there is none.

    Args:
        file: afterwards it stands at its beginning.
    """
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _END_BYTES - _COMMENT_BYTES)
    file.seek(start)
    tail = file.read()
    place = len(tail) - _END_BYTES
    if tail[place : place + 4] != _END or tail[-2:] != b"\0\0":
        place = tail.rfind(_END)
    end = tail[place : place + _END_BYTES] if place >= 0 else b""
    stated = int.from_bytes(end[12:16], "little")
    locator = start + place - _LOCATOR_BYTES
    if len(end) == _END_BYTES and locator >= _LARGE_END_BYTES:
        file.seek(locator - _LARGE_END_BYTES)
        both = file.read(_LARGE_END_BYTES + _LOCATOR_BYTES)
        if both[_LARGE_END_BYTES:].startswith(_LOCATOR) and both.startswith(_LARGE_END):
            stated = max(stated % 0xFFFFFFFF, int.from_bytes(both[40:48], "little"))
    file.seek(0)
    return min(stated, size)
