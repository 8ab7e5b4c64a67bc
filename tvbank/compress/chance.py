"""Chance that is the same wherever and whenever it is drawn: SplitMix64."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tvbank.coding.kernel import kernel

#: What SplitMix64 adds to its state for every number that it yields.
GAMMA: Final = np.uint64(0x9E3779B97F4A7C15)


@kernel
def uniform(state: Any) -> float:
    """A number from 0 to below 1, in steps of 2**-53: what SplitMix64 yields after a uint64 state.

    The number of rank r (from 0) that it yields from a state s is that after ``s + r * GAMMA``.
    """
    mixed = state + GAMMA
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    return np.float64(mixed >> np.uint64(11)) * 2.0**-53
