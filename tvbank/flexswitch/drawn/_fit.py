"""The changes of all sizes between which a budget lies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: How far sizes are moved first and at most, as logarithms, and how often they are asked for.
_FIRST: Final = 0.02
_FARTHEST: Final = 40.0
_TRIES: Final = 24


def bracket(
    size: Callable[[float], float], least: float, most: float
) -> tuple[float | None, float | None]:
    """The largest change found that fits, and the smallest that does not.

    Args:
        size: rises with the change, but for jumps.
        least: enough: a size between this and ``most`` ends the search.
        most: what fits.

    Returns:
        The first is None if nothing fits; the second if the first is enough, or nothing larger is
        there.
    """
    below: float | None = None
    above: float | None = None
    at, stride = 0.0, _FIRST
    for _ in range(_TRIES):
        now = size(at)
        if now > most:
            above = at
        else:
            below = at
            if now >= least:
                return at, None
        if abs(at) >= _FARTHEST:
            break
        if above is None:
            at, stride = at + stride, 2 * stride
        elif below is None:
            at, stride = at - stride, 2 * stride
        else:
            at = (below + above) / 2
    return below, above
