"""How a router is made of examples: the metric, centres or examples, how much is rejected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from tvbank.errors import UsageError
from tvbank.routing._discriminant import Metric, discriminant
from tvbank.routing._examples import Examples

#: Ways to measure how near two features are.
METRICS = ("discriminant", "euclidean", "learned")


@final
@dataclass(frozen=True)
class Method:
    """What ``Router.fit`` was asked for; see there.

    Attributes:
        metric: one of ``METRICS``.
        neighbours: C.
        centres: E, centres a task; None to keep the examples.
        rank: r, rows of L; None for as many as there are.
        reject: share of known inputs that may be rejected, or None.
        seed: of every choice at random.
    """

    metric: str = "discriminant"
    neighbours: int = 10
    centres: int | None = None
    rank: int | None = None
    reject: float | None = 0.02
    seed: int = 0

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(f"metric= is one of {', '.join(METRICS)}, got {self.metric!r}")
        if self.metric == "learned" and self.centres is None:
            raise UsageError("the learned metric is one between centres: give centres= too")
        if self.metric == "euclidean" and self.rank is not None:
            raise UsageError("rank= belongs to the metrics discriminant and learned")
        for name, value in (("centres", self.centres), ("rank", self.rank)):
            if value is not None and value < 1:
                raise UsageError(f"{name}= is 1 or more, got {value}")
        if self.neighbours < 1:
            raise UsageError(f"neighbours= is 1 or more, got {self.neighbours}")
        if self.reject is not None and not 0 < self.reject < 1:
            raise UsageError(f"reject= is a share between 0 and 1, or None, got {self.reject}")

    @classmethod
    def asked(cls, metric: str | None = None, **options: Any) -> Method:
        """The method of some options of ``Router.fit``; centres and rank mean a learned metric.

        Raises:
            UsageError: an option that is not known, or out of its range.
        """
        if metric is None:
            both = options.get("centres") is not None and options.get("rank") is not None
            metric = "learned" if both else "discriminant"
        try:
            return cls(metric, **options)
        except TypeError as error:
            raise UsageError(f"not an option of a router: {error}") from error

    def build(self, examples: Examples) -> tuple[Examples, Metric | None]:
        """The keys that inputs are compared with, and how."""
        keys = examples
        if self.centres is not None:
            from tvbank.routing._centres import cluster  # scikit-learn

            keys = cluster(examples, self.centres, self.seed)
        if self.metric == "euclidean":
            return keys, None
        if self.metric == "discriminant":
            return keys, discriminant(examples, self.rank)
        from tvbank.routing._learned import learned  # torch

        rank = self.rank or len(examples.tasks) - 1
        return keys, learned(examples, keys, rank, self.neighbours, self.seed)

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Method:
        """What ``to_json`` made.

        Raises:
            UsageError: it is no method.
        """
        try:
            return cls(**value)
        except TypeError as error:
            raise UsageError(f"not a way to fit a router: {dict(value)!r}") from error
