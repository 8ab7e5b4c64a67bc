"""From where in a model a router's features come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from tvbank.errors import UsageError

#: Ways to make one row out of what a module returns for an example.
POOLINGS = ("auto", "tokens", "maps", "first", "summary")

#: The place before the classifier: what enters the linear layer that makes the output.
BEFORE_CLASSIFIER = ""


@final
@dataclass(frozen=True)
class Recipe:
    """How to get features that a router understands.

    Attributes:
        at: names of modules, as ``model.named_modules()`` has them, whose outputs are concatenated;
            ``""`` is what enters the linear layer that makes the model's output, or the output
            itself where no linear layer makes it.
        pooling: ``"tokens"`` [n, t, d] is averaged over t, with a mask over real tokens;
            ``"maps"`` [n, d, …] over all but the first two dimensions; ``"auto"`` is ``"tokens"``
            for three dimensions and ``"maps"`` for more; ``"first"`` takes token 0; ``"summary"``
            the mean, the first, the last, the least and the greatest of tokens or of places, which
            tells tasks apart better than the mean alone.
        width: features an example; 0 while it is not known.
    """

    at: tuple[str, ...] = (BEFORE_CLASSIFIER,)
    pooling: str = "auto"
    width: int = 0

    def __post_init__(self) -> None:
        if not self.at or len(set(self.at)) != len(self.at):
            raise UsageError(f"at= takes one or more different names of modules, got {self.at!r}")
        if self.pooling not in POOLINGS:
            raise UsageError(f"pooling= is one of {', '.join(POOLINGS)}, got {self.pooling!r}")
        if self.width < 0:
            raise UsageError(f"features have a width of 1 or more, got {self.width}")

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON: ``at``, ``pooling``, ``width``."""
        return {"at": list(self.at), "pooling": self.pooling, "width": self.width}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Recipe:
        """What ``to_json`` made.

        Raises:
            UsageError: it is no recipe.
        """
        at, pooling, width = value.get("at"), value.get("pooling"), value.get("width")
        named = isinstance(at, list) and all(isinstance(name, str) for name in at)
        if not named or not isinstance(pooling, str) or not isinstance(width, int):
            raise UsageError(f"not a recipe for features: {dict(value)!r}")
        return cls(tuple(at or ()), pooling, width)


def names_of(at: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several as a tuple."""
    return (at,) if isinstance(at, str) else tuple(at)
