"""What the gradient in a unit's drawn entries says of its scale, and of its noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from tvbank.compress._rows import raised


@njit(cache=True, nogil=True)
def correlate(
    delta: Any,
    drawn: Any,
    slopes: Any,
    start: int,
    width: int,
    halves: int,
    factors: Any,
    levels: float,
    size: float,
    sums: Any,
) -> None:
    """Add to the gradient in the logarithms of a unit's step and scale.

    An entry of x steps was drawn as v and is m on average. A larger scale lengthens all v alike. A
    larger step at the same scale leaves m, but makes the variance of v grow, by the factor
    1 / (1 - x) times as fast as the step where x < 1; the loss changes with it by half its
    curvature, and the product of gradient and noise, g (v - m), is on average the curvature times
    the variance. Above one level that factor is 2 on average, and is taken to be at most that. At
    the highest level v is the size itself, without noise.

    Args:
        delta: float32 [n], the entries.
        drawn: float32 [n], what was drawn of them.
        slopes: float32 [n], the gradient of the loss in the weights.
        start: position of the first of them in the unit.
        width: entries of a row.
        halves: of the power that is drawn.
        factors: float64 [rows], that of the row over the step.
        levels: the highest.
        size: what a step becomes.
        sums: float64 [2], added to: by the logarithm of the step, of the scale.
    """
    of_step = of_scale = 0.0
    at = 0
    while at < len(delta):
        row, column = divmod(start + at, width)
        factor = factors[row]
        stop = min(len(delta), at + width - column)
        for i in range(at, stop):
            slope, value = np.float64(slopes[i]), np.float64(drawn[i])
            magnitude = np.float64(np.abs(delta[i]))
            reached = raised(magnitude, halves) * factor
            of_scale += slope * value
            if reached >= levels:
                of_step += slope * value
            elif magnitude > 0:
                noise = value - math.copysign(reached * size, np.float64(delta[i]))
                of_step += slope * noise * min(0.5 / max(1 - reached, 0.5), 1.0)
        at = stop
    sums[0] += of_step
    sums[1] += of_scale
