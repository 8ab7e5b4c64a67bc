"""Steps cut into a symbol, which is entropy coded, and low bits, which are stored as they are.

A step of sign s and magnitude a has the symbol 2·b + s, where b is the bucket of a. A *scale* says
what the buckets are (spec/values.md, "magnitudes"):

- 0: bucket 0 is a = 1; for 2^e <= a < 2^(e+1), e >= 1, the first and the second half of them are
  buckets 2·e − 1 and 2·e, whose e − 1 low bits tell the rest;
- w + 1, 1 to 31: buckets of 2^w magnitudes each, from o·2^w on, with w low bits. They are exact
  for small steps; and weights of zero move so far that only the new weight's bits tell anything.

A *law* is a scale, and the share that each symbol has of the 1024 slots of the entropy coder.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.kernel import kernel, leading_zeros
from tvbank.coding.rans import SLOTS

#: Buckets of a scale, and symbols of steps.
BUCKETS: Final = 63
SYMBOLS: Final = 2 * BUCKETS
#: Bits of a scale, and of the two halves of its origin.
SCALE_BITS: Final = 5
ORIGIN_BITS: Final = 16
#: Bits of a number of symbols, and of a frequency's length.
COUNT_BITS: Final = 7
LENGTH_BITS: Final = 4
#: The longest frequency: that of a symbol with all slots.
LONGEST: Final = SLOTS.bit_length()
#: Most low bits of a step.
LOW_BITS: Final = 30

_U = np.uint64
_ONE, _TWO = _U(1), _U(2)
_LAST = _U(63)


@kernel
def magnitude_of(step: Any) -> Any:
    """(magnitude, sign) of the uint32 pattern of an int32, as uint64."""
    value = np.int64(np.int32(step))
    return _U(abs(value)), _U(value < 0)


@kernel
def bucket_of(magnitude: Any, scale: Any, origin: Any) -> Any:
    """(bucket, low bits, their number) of a magnitude from 1 on, as uint64."""
    if scale:
        bits = scale - _ONE
        return (magnitude >> bits) - origin, magnitude & ((_ONE << bits) - _ONE), bits
    if magnitude == _ONE:
        return _U(0), _U(0), _U(0)
    octave = _LAST - leading_zeros(magnitude)
    bits = octave - _ONE
    half = (magnitude >> bits) & _ONE
    return _TWO * octave - _ONE + half, magnitude & ((_ONE << bits) - _ONE), bits


@kernel
def bucket_start(bucket: Any, scale: Any, origin: Any) -> Any:
    """(least magnitude, number of low bits) of a bucket, as uint64."""
    if scale:
        return (origin + bucket) << (scale - _ONE), scale - _ONE
    if bucket == _U(0):
        return _ONE, _U(0)
    bits = (bucket + _ONE) // _TWO - _ONE
    return (_TWO + ((bucket + _ONE) & _ONE)) << bits, bits


@kernel
def fit_law(counts: Any, law: Any) -> None:
    """Give symbols slots in proportion to their counts: 1 at least, and 1024 together.

    What rounding leaves over goes to, or is taken from, where it changes the fewest bits.

    Args:
        counts: int64 [symbols], not all 0.
        law: int64 [symbols], overwritten.
    """
    total: Any = 0
    for count in counts:
        total += count
    left = SLOTS
    for symbol in range(counts.size):
        law[symbol] = 0
        if counts[symbol]:
            law[symbol] = max(1, (counts[symbol] * SLOTS + total // 2) // total)
            left -= law[symbol]
    while left:
        best = -1
        for symbol in range(counts.size):
            if counts[symbol] and (left > 0 or law[symbol] > 1):
                if best < 0:
                    best = symbol
                # Compare counts / slots, where the slots are those after the change.
                elif left > 0:
                    if counts[symbol] * law[best] > counts[best] * law[symbol]:
                        best = symbol
                elif counts[symbol] * (law[best] - 1) < counts[best] * (law[symbol] - 1):
                    best = symbol
        if left > 0:
            law[best] += 1
            left -= 1
        else:
            law[best] -= 1
            left += 1
