"""What writers compare: bits of entropy, in integers, so that every machine chooses the same."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from tvbank.coding.kernel import kernel, leading_zeros

#: Costs are in 1/65536 of a bit.
COST_BITS: Final = 16
_FINE = 12
_LOGARITHMS = np.array(
    [round(65536 * math.log2(1 + i / (1 << _FINE))) for i in range((1 << _FINE) + 1)], np.int64
)


@kernel
def weighted_log(number: Any) -> Any:
    """``number`` · log2(``number``); 0 for 0."""
    if number < 2:
        return np.int64(0)
    octave = np.int64(63) - np.int64(leading_zeros(np.uint64(number)))
    scaled = (number << (40 - octave)) - (1 << 40)
    place = scaled >> (40 - _FINE)
    rest = scaled & ((1 << (40 - _FINE)) - 1)
    low = _LOGARITHMS[place]
    rise = ((_LOGARITHMS[place + 1] - low) * rest) >> (40 - _FINE)
    return number * ((octave << 16) + low + rise)


@kernel
def entropy(ones: Any, cells: Any) -> Any:
    """``ones`` among ``cells`` entries: cells · H(ones / cells)."""
    return weighted_log(cells) - weighted_log(ones) - weighted_log(cells - ones)
