"""Affine grids: offset + code·step in float64, rounded once to float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.coding.encoding import AFFINE_LIMIT, code_bits
from tvbank.coding.kernel import kernel

_LARGEST_CODE = (1 << AFFINE_LIMIT) - 1


@final
@dataclass(frozen=True, eq=False)
class Grid:
    """A grid that holds every value of an alphabet exactly.

    Attributes:
        offset: the value of code 0.
        step: the distance of neighbouring codes; finite, of either sign.
        codes: uint32, the code of each value of the alphabet in the alphabet's order.
    """

    offset: np.float32
    step: np.float32
    codes: NDArray[np.uint32]

    @property
    def bits(self) -> int:
        """Bits that every code fits in, 1 .. 8."""
        return max(1, int(self.codes.max()).bit_length())


def grid_patterns(offset: np.float32, step: np.float32, bits: int) -> NDArray[np.uint32]:
    """The 32-bit patterns of all codes of a grid: uint32 [2^bits].

    The product of a float32 and a code is exact in float64; the sum is rounded to float64 and
    then, with ties to even, to float32.
    """
    codes = np.arange(1 << bits, dtype=np.float64)
    with np.errstate(over="ignore"):
        values = (np.float64(offset) + codes * np.float64(step)).astype(np.float32)
    return values.view(np.uint32)


@kernel
def _search(values: Any, lower: Any, upper: Any, codes: Any) -> Any:
    """Find the coarsest grid from ``values[0]`` upwards; returns its step, NaN if there is none.

    Every value confines the step to an interval, (rounding interval − offset) / code. With a given
    number of steps between the first and the last value, all codes are known.
    """
    count = values.size
    offset = values[0]
    span = values[count - 1] - offset
    for steps in range(count - 1, _LARGEST_CODE + 1):
        least, most = -np.inf, np.inf
        for index in range(1, count):
            code = np.rint((values[index] - offset) * steps / span)
            codes[index] = np.uint32(code)
            if code < 1:
                least = np.inf
            else:
                least = max(least, (lower[index] - offset) / code)
                most = min(most, (upper[index] - offset) / code)
            if least > most:
                break
        if least <= most:
            # The float32 nearest to the middle lies within, if any float32 does; but at an end,
            # where values are ties, one may round to even and the other not.
            for share in (0.5, 0.0, 1.0):
                step = np.float64(np.float32(least + share * (most - least)))
                exact = np.isfinite(step)
                for index in range(1, count):
                    value = np.float64(np.float32(offset + np.float64(codes[index]) * step))
                    exact = exact and value == values[index]
                if exact:
                    return step
    return np.nan


def find_grid(patterns: NDArray[np.uint32]) -> Grid | None:
    """Find an affine grid whose first or last used code is the value at one end of an alphabet.

    Args:
        patterns: distinct float32 patterns, ascending as unsigned integers, at least one.

    Returns:
        The grid of the fewest bits, rising from the least value or else falling from the
        greatest; None if neither is found. A chunk that was quantised onto such a grid is
        recognised if code 0 is in use and rounding moved no value by as much as half a step.
    """
    values = patterns.view(np.float32)
    if not np.isfinite(values).all():
        return None
    order = np.argsort(values, kind="stable")
    rising = _from_least(values, order, np.float32(1))
    if rising is not None and rising.bits <= max(1, code_bits(values.size)):
        return rising
    falling = _from_least(values, order[::-1], np.float32(-1))
    grids = [grid for grid in (rising, falling) if grid is not None]
    return min(grids, key=lambda grid: grid.bits, default=None)


def _from_least(
    alphabet: NDArray[np.float32], order: NDArray[np.intp], sign: np.float32
) -> Grid | None:
    """The coarsest grid of an alphabet that rises, after multiplication by ``sign``.

    Args:
        alphabet: finite float32 values, all distinct.
        order: ranks that bring the values times ``sign`` into ascending order.
        sign: 1 or −1.
    """
    values = alphabet[order] * sign
    codes = np.zeros(values.size, np.uint32)
    step = np.float32(_step(values, codes)) if values.size > 1 else np.float32(0)
    if np.isnan(step):
        return None
    grid = Grid(values[0] * sign, step * sign, np.empty_like(codes))
    grid.codes[order] = codes
    restored = grid_patterns(grid.offset, grid.step, grid.bits)[grid.codes]
    return grid if np.array_equal(restored, alphabet.view(np.uint32)) else None


def _step(values: NDArray[np.float32], codes: NDArray[np.uint32]) -> float:
    """The step of the coarsest grid that rises from the first value, NaN if there is none.

    Args:
        values: at least two, ascending.
        codes: overwritten with the code of each value.
    """
    middle = values.astype(np.float64)
    with np.errstate(over="ignore"):
        below = np.nextafter(values, np.float32(-np.inf)).astype(np.float64)
        above = np.nextafter(values, np.float32(np.inf)).astype(np.float64)
    # Beyond the greatest float32 the next value would be 2^128.
    below[np.isinf(below)] = -(2.0**128)
    above[np.isinf(above)] = 2.0**128
    return float(_search(middle, 0.5 * (below + middle), 0.5 * (middle + above), codes))
