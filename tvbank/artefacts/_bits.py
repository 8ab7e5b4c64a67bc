"""Bits in the orders in which artefacts pack them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def rows_of_words(words: NDArray[Any], bits: int = 1) -> NDArray[np.uint8]:
    """Codes that lie below each other in int32 words, the least significant first.

    Args:
        words: int32 [k, n]; code j of the word in row i is row ``i * 32 // bits + j``.
        bits: of a code: 1, 2, 4 or 8.

    Returns:
        uint8 [k * 32 // bits, n].
    """
    octets = np.ascontiguousarray(words, np.dtype("<i4")).view(np.uint8)
    octets = octets.reshape(*words.shape, 4)  # the least significant octet first
    each = 8 // bits
    shifts = np.arange(each, dtype=np.uint8) * np.uint8(bits)
    codes = (octets[..., None] >> shifts) & np.uint8(2**bits - 1)  # [k, n, 4, each]
    return np.ascontiguousarray(
        codes.transpose(0, 2, 3, 1).reshape(words.shape[0] * 4 * each, words.shape[1])
    )


def signs(bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """+1 where a bit is 1, -1 where it is 0."""
    return bits.astype(np.float32) * np.float32(2) - np.float32(1)
