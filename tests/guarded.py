"""Memory that ends where nobody may read or write: who does kills the process."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np

_PAGE = mmap.PAGESIZE


class Guarded:
    """``size`` bytes that end where memory ends, filled with ``content`` or with zeros."""

    def __init__(self, size, content=b""):
        pages = -(-size // _PAGE) or 1
        self._map = mmap.mmap(-1, (pages + 1) * _PAGE)
        whole = np.frombuffer(self._map, np.uint8)
        self._whole = whole
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mprotect(ctypes.c_void_p(whole.ctypes.data + pages * _PAGE), _PAGE, 0):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.array = whole[pages * _PAGE - size : pages * _PAGE]
        self.array[: len(content)] = np.frombuffer(content, np.uint8)

    @property
    def address(self):
        return np.uint64(self.array.__array_interface__["data"][0])
