"""Points of a plane of bytes and scores, and those that no other point beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True)
class Point:
    """One way to store a fine-tune.

    Attributes:
        compressor: what kept it: name and parameters.
        stored_bytes: of the task in the bank, by its catalog.
        bits_per_parameter: the same, by parameter.
        share: the same, of the base's bytes.
        score: of the weights that were read back from the bank; more is better.
        seconds: of compressing and storing.
    """

    compressor: dict[str, Any]
    stored_bytes: int
    bits_per_parameter: float
    share: float
    score: float
    seconds: float

    @property
    def method(self) -> str:
        """Name of the compressor."""
        return str(self.compressor.get("name", "?"))

    @property
    def setting(self) -> str:
        """Its parameters on one line."""
        parameters = self.compressor.items()
        return " ".join(f"{key}={value}" for key, value in parameters if key != "name")


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points than which no smaller or equally large one has a better score, by size.

    A score that is NaN is never on the frontier.
    """
    best, found = -math.inf, []
    for point in sorted(points, key=lambda point: (point.stored_bytes, -point.score)):
        if point.score > best:
            best = point.score
            found.append(point)
    return found
