"""Inputs of no known task: little speaks for the best task, or they lie far from all examples.

Two scores, each with a threshold:

- evidence, z·m - ‖m‖²/2, where z is an input and m the mean of its task, both seen from the middle
  of all tasks in the router's metric: the logarithm of how much likelier the task makes the input
  than being somewhere around that middle does;
- distance, the mean over the neighbours.

Thresholds come from examples that were held out of metric, centres and all, at the same rank of
both scores, so that together they reject the share asked for. What else was tried, and how it
compares, is in docs/measured/routing.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tvbank.routing._held_out import HeldOut

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Rejection:
    """When an input is of no known task.

    Attributes:
        evidence: below this,
        distance: or above this.
    """

    evidence: float
    distance: float


def calibrate(held: HeldOut, rate: float) -> Rejection:
    """The thresholds that reject a share of held-out examples of known tasks."""
    return _thresholds(held.evidence, held.distance, rate)


def _thresholds(evidence: Doubles, distance: Doubles, rate: float) -> Rejection:
    """Thresholds at equal ranks of both scores, such that together they reject that share."""
    count = len(evidence)
    least, farthest = np.sort(evidence), -np.sort(-distance)
    # How many examples are as suspicious, by the score that makes this one the most so.
    ranks = np.minimum(
        np.searchsorted(least, evidence, "right"), np.searchsorted(-farthest, -distance, "right")
    )
    allowed = int(rate * (count + 1))
    rank = int(np.sort(ranks)[allowed - 1]) if allowed else 0
    rank = min(rank, count - 1)
    return Rejection(float(least[rank]), float(farthest[rank]))
