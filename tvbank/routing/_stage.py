"""One router of a cascade, and what it says of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.errors import UsageError
from tvbank.routing.router import NO_TASK, Router

#: The threshold of a last stage.
ALWAYS = 0.0

#: How sure is sure, of routers that were not calibrated together.
SURE = 0.9


@final
@dataclass(frozen=True, eq=False)
class Stage:
    """One router of a cascade.

    Attributes:
        router: any.
        threshold: inputs of at least this confidence, 0..1, are decided here; of no effect in the
            last stage.
    """

    router: Router
    threshold: float = SURE

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"a cascade's threshold is 0 to 1, got {self.threshold}")

    def judge(self, features: Any) -> Verdict:
        """Ask about features [n, d] of the router's recipe."""
        weights, top = self.router.weights(features), self.router.top(features)
        likely = self.router.posterior(features)
        likely[top == NO_TASK] = 0
        return Verdict(weights, top, likely)


@final
@dataclass(frozen=True, eq=False)
class Verdict:
    """What one stage says of some inputs.

    Attributes:
        weights: float64 [n, K], as ``Router.weights``.
        top: int64 [n], as ``Router.top``.
        posterior: float64 [n, K], rows sum to one: how likely each task is, all equally frequent;
            zeros where the router rejected the input.
    """

    weights: NDArray[np.float64]
    top: NDArray[np.int64]
    posterior: NDArray[np.float64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The posterior of the task on top, float64 [n]; 0 where the input was rejected."""
        rows = np.arange(len(self.top))
        return np.where(self.top == NO_TASK, 0.0, self.posterior[rows, self.top])
