"""Memory for what is read, asked for once its size is known, and before anything is decoded.

All that one call takes is compared together with the memory that there is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.limits import memory_limit
from tvbank.errors import TooLargeError

#: Bytes that a decoder works in for each entry of a chunk.
_DECODER_BYTES = 16


def zeros(size: int, dtype: np.dtype[Any], what: str, remedy: str, beside: int = 0) -> NDArray[Any]:
    """An array of zeros; see ``zeros_of_all``."""
    return zeros_of_all([(size, dtype)], what, remedy, beside)[0]


def zeros_of_all(
    wanted: Sequence[tuple[int, np.dtype[Any]]], what: str, remedy: str, beside: int = 0
) -> list[NDArray[Any]]:
    """Arrays of zeros, whose pages cost memory only when they are written to.

    Args:
        wanted: number of elements of each, and their type; a layout can state 2^48 in a few
            hundred bytes.
        what: is read, for the message.
        remedy: what the user can do instead.
        beside: bytes that the same call takes otherwise, while it has the arrays.

    Raises:
        TooLargeError: the system does not have as much memory.
    """
    size_in_bytes = sum(size * dtype.itemsize for size, dtype in wanted) + beside
    refuse_too_large(size_in_bytes, what, remedy)
    try:
        return [np.zeros(size, dtype) for size, dtype in wanted]
    except (MemoryError, ValueError) as error:  # numpy has two words for it
        raise _refusal(size_in_bytes, what, remedy) from error


def refuse_too_large(size_in_bytes: int, what: str, remedy: str) -> None:
    """Refuse what takes more memory than there is, of which the system may promise too much.

    Raises:
        TooLargeError: see ``zeros_of_all``.
    """
    if size_in_bytes > _physical():
        raise _refusal(size_in_bytes, what, remedy)


def _refusal(size_in_bytes: int, what: str, remedy: str) -> TooLargeError:
    gibibytes = f"{size_in_bytes / 2**30:,.1f} GiB"
    return TooLargeError(f"{what} would take {gibibytes}, more memory than there is: {remedy}")


def working_bytes(chunk_length: int, entries: int, threads: int | None = None) -> int:
    """Bytes that decoding takes beside its results.

    Args:
        chunk_length: entries of a chunk.
        entries: of all that is decoded; no chunk is longer.
        threads: that decode at once; by default one for each core.
    """
    return _DECODER_BYTES * min(chunk_length, entries) * (threads or os.cpu_count() or 1)


def _physical() -> float:
    """Bytes of memory that this process can have."""
    return memory_limit()
