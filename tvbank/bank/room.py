"""Memory for the entries that are read: asked for once their number is known, before decoding."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import TooLargeError


def room(size: int, dtype: np.dtype[Any], what: str, remedy: str) -> NDArray[Any]:
    """An array of zeros, whose pages cost memory only when they are written to.

    Args:
        size: number of elements; a layout can state 2^48 in a few hundred bytes.
        dtype: of the elements.
        what: names the entries in the message.
        remedy: what the user can do instead.

    Raises:
        TooLargeError: the system does not have as much memory.
    """
    size_in_bytes = size * dtype.itemsize
    refusal = TooLargeError(
        f"{what} would take {size_in_bytes / 2**30:,.1f} GiB, more memory than there is: {remedy}"
    )
    if size_in_bytes > _physical():  # the system may promise more than it can keep
        raise refusal
    try:
        return np.zeros(size, dtype)
    except (MemoryError, ValueError) as error:  # numpy has two words for it
        raise refusal from error


@cache
def _physical() -> float:
    """Bytes of the machine's memory, where the system says so; else infinite."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")
