"""How fast gates and widths harden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

#: ρ and ω start at 1 and are multiplied by this every 10 of the paper's 500 steps.
_COOLING: Final = 0.9
#: How often they are, in a run of any length: by the paper's objective, and by that of bytes. After
#: 50 times (ρ = 0.005) units whose threshold is a small part of their range still have open gates
#: in sum; after 80 (0.0002) the model that learns is the one that will be stored.
_TIMES: Final = {False: 50, True: 80}


@final
@dataclass(frozen=True)
class Schedule:
    """The temperature of a run.

    Attributes:
        steps: of the run.
        by_bytes: whether the objective is that of bytes.
    """

    steps: int
    by_bytes: bool

    def temperature(self, step: int) -> float:
        """ρ and ω after some of the steps."""
        return float(_COOLING ** (_TIMES[self.by_bytes] * step // self.steps))

    @property
    def end(self) -> float:
        """ρ and ω at the end, by which gates are opened or closed."""
        return self.temperature(self.steps)
