"""Two readers of one format on one input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from spec.reference.invalid import Invalid
from tvbank.errors import FormatError


class Outcome(NamedTuple):
    """Why a reader refused, or ``None``; and what it read."""

    reason: str | None
    read: Any


def attempt(read: Callable[[], Any]) -> Outcome:
    """What a reader makes of an input; any other error than the two readers' own goes through."""
    try:
        return Outcome(None, read())
    except (FormatError, Invalid) as error:
        return Outcome(error.reason, None)
