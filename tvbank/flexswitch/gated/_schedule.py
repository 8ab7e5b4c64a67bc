"""How fast gates and widths harden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

#: ρ and ω start at 1 and are multiplied by this so many times: every 10 of the paper's 500 steps.
_COOLING: Final = 0.9
_TIMES: Final = 50


@final
@dataclass(frozen=True)
class Schedule:
    """The temperature of a run; one of any length ends as hard as one of 500 steps.

    Attributes:
        steps: of the run.
    """

    steps: int

    def temperature(self, step: int) -> float:
        """ρ and ω after some of the steps."""
        return float(_COOLING ** (_TIMES * step // self.steps))

    @property
    def end(self) -> float:
        """ρ and ω at the end, by which gates are opened or closed."""
        return self.temperature(self.steps)
