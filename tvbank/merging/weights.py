"""The weights of tasks, as users give them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tvbank.errors import UsageError


def checked_weights(weights: object) -> dict[str, float]:
    """Weights by the names of their tasks, as floats.

    Args:
        weights: a mapping of names to numbers.

    Raises:
        UsageError: something else, or a weight that is not a finite number.
    """
    if not isinstance(weights, Mapping):
        raise UsageError(
            f"weights are a mapping of tasks to numbers, such as {{'a': 0.7, 'b': 0.3}}, not "
            f"{weights!r}"
        )
    return {_name(name): _weight(name, weight) for name, weight in weights.items()}


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise UsageError(f"a task is named by a string, not by {name!r}")
    return name


def _weight(name: object, weight: object) -> float:
    try:
        number = float(weight)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"the weight of task {name!r} must be a finite number, got {weight!r}")
    return number
