"""Losses that a person allows: ``"1 point"`` of a score, ``"0.02 nats"`` of a loss."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from tvbank._lazy import from_above
from tvbank._progress import Listener
from tvbank.compress.protocol import Compressor
from tvbank.errors import UsageError

#: Called with the path of a full checkpoint; returns a finite number.
Evaluate = Callable[[Path], Any]

_AMOUNT = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([a-z]*)\s*")
#: What a unit is in those of the evaluation, and whether less of what that returns is better.
_UNITS = {
    "": (1.0, False), "point": (0.01, False), "points": (0.01, False),
    "nat": (1.0, True), "nats": (1.0, True),
}  # fmt: skip


@final
@dataclass(frozen=True)
class Tolerance:
    """How much worse than the fine-tune a compressed task may be.

    Attributes:
        amount: in the units of what the evaluation returns, above 0.
        is_loss: whether the evaluation returns a loss, of which less is better.
    """

    amount: float
    is_loss: bool

    @staticmethod
    def parse(text: str) -> Tolerance:
        """Read a tolerance as a person writes it.

        A point is .01 of a score from 0 to 1; a number without a unit is in the score's own.

        Raises:
            UsageError: says what can be written.
        """
        match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
        if match and match[2] in _UNITS:
            factor, is_loss = _UNITS[match[2]]
            amount = float(match[1]) * factor
            if 0 < amount < math.inf:
                return Tolerance(amount, is_loss)
        raise UsageError(
            "a tolerance is a number above 0, such as '1 point' (0.01 of a score), '0.02 nats' (of "
            f"a loss) or '0.5' (of a score in its own units); got {text!r}"
        )

    def allows(self, value: float, tuned: float) -> bool:
        """Whether a value of the evaluation is near enough to that of the fine-tune."""
        worse = value - tuned if self.is_loss else tuned - value
        return worse <= self.amount


@final
@dataclass(frozen=True)
class Found:
    """What a search for the smallest size found.

    Attributes:
        tolerance: as it was written.
        tuned: the value of the fine-tune.
        curve: bytes of a task and its value, by bytes, of every size that was tried.
    """

    tolerance: str
    tuned: float
    curve: tuple[tuple[int, float], ...]

    def __str__(self) -> str:
        shown = ", ".join(f"{size:,} bytes {value:g}" for size, value in self.curve)
        return f"within {self.tolerance} of the fine-tune's {self.tuned:g}, of sizes tried: {shown}"


def check_search(budget: str | None, tolerance: str | None, evaluate: Any) -> None:
    """Refuse a compressor that is given a size and a tolerance, or half of what a search needs.

    Raises:
        UsageError: says what to leave out or to add.
    """
    if tolerance is None:
        if evaluate is not None:
            raise UsageError("evaluate= is for a tolerance: give tolerance='1 point', too")
        return
    Tolerance.parse(tolerance)
    if budget is not None:
        raise UsageError("give a budget or a tolerance, not both")
    if not callable(evaluate):
        raise UsageError(
            "a tolerance needs evaluate=, a function from the path of a checkpoint to a number"
        )


class Searching(Compressor):
    """A compressor to a size, which is looked for if there is a tolerance in its place.

    Attributes:
        tolerance: see ``Budget``.
        found: what the search found.
    """

    tolerance: str | None
    found: Found | None

    @property
    def forms(self) -> tuple[Self, ...]:
        """Compressors among which a search takes the one that does with the fewest bytes."""
        return (self,)

    @property
    def remarks(self) -> tuple[str, ...]:
        """See ``Compressor.remarks``."""
        return () if self.found is None else (str(self.found),)

    def settled(
        self,
        base: Any,
        tuned: Any,
        *,
        chunk_length: int,
        options: Mapping[str, Any],
        progress: Listener = None,
    ) -> Self:
        """The compressor at the smallest size that its tolerance allows.

        Raises:
            UsageError, CheckpointError: see ``tvbank.reporting.within_tolerance``.
        """
        if self.tolerance is None:
            return self
        found: Self = from_above("reporting", "within_tolerance")(
            self, base, tuned, chunk_length=chunk_length, options=options, progress=progress
        )
        return found
