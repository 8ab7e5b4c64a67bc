"""What the gradient in a unit's drawn entries says of its scale and of the noise of drawing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvbank.coding.kernel import kernel
from tvbank.compress.budget.drawing import raised


@kernel
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

    Let v be what was drawn of an entry of x steps, m the average of v over all draws, and g the
    gradient of the loss in the entry.

    - Scale: a larger one lengthens every v alike, which gives g v.
    - Step, below the highest level: a larger one leaves m and makes the variance of v grow, where
      x < 1 at 1 / (1 - x) times the rate of the step. The loss grows by half its curvature times
      that, and g (v - m) is on average the curvature times the variance. For x > 1 the factor is 2
      on average; it is capped at 2 everywhere.
    - Step, at the highest level: v is the size itself, without noise, which gives g v.

    Args:
        delta: float32 [n], the entries.
        drawn: float32 [n], what was drawn of them.
        slopes: float32 [n], the gradient of the loss in the weights.
        start: position of the first of them in the unit.
        width: entries of a row.
        halves: the power of magnitudes that is drawn, in halves.
        factors: float64 [rows], the factor of each row over the step.
        levels: the highest level.
        size: the value of one level.
        sums: float64 [2]: the gradients in the logarithms of the step and of the scale are added.
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
