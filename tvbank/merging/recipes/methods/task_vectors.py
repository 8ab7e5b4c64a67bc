"""``task_arithmetic``, and what all methods share that sum task vectors, trimmed one way or other.

Of every model the difference from the base is taken and trimmed; the differences are weighted, and
where a method elects signs, those of the minority are left out. The sum is divided by the sum of
the weights that took part, if ``normalize`` says so, and scaled by ``lambda``.
"""

from __future__ import annotations

from typing import ClassVar, Final, final

import torch

from tvbank.merging.recipes.method import Group, Input, Parameter, RecipeMethod

_LEAST_WEIGHT = 1e-8
_LEAST_NORM = 1e-7

LAMBDA: Final = Parameter("lambda", default=1.0)
WEIGHT: Final = Parameter("weight", of="others")
DENSITY: Final = Parameter("density", default=1.0, of="others")


def normalize(default: bool) -> Parameter:
    """Whether sums are divided by the sum of the weights."""
    return Parameter("normalize", default=default, kind=bool)


def rescale(default: bool) -> Parameter:
    """Whether what is left of a vector is scaled to the L1 norm that it had."""
    return Parameter("rescale", default=default, kind=bool)


class TaskVectors(RecipeMethod):
    """A method that sums task vectors.

    Attributes:
        elects: whether only the tasks count, at each entry, that have the sign of the sum.
    """

    elects: ClassVar[bool] = False

    def trim(self, vector: torch.Tensor, of: Input, group: Group) -> torch.Tensor:
        """What is left of a task vector; all of it, if a method does not say otherwise."""
        return vector

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        assert group.base is not None
        base = group.base.weights
        if not group.others:
            return base
        vectors = base.new_empty((len(group.others), *base.shape))
        for place, each in zip(vectors, group.others, strict=True):
            place[...] = self.trim(each.weights - base, each, group)
        weights = torch.tensor([e.settings["weight"] for e in group.others], dtype=base.dtype)
        weights = weights.reshape(-1, *[1] * base.dim())
        vectors *= weights
        total, divisor = _elected(vectors, weights) if self.elects else _summed(vectors, weights)
        if group.settings["normalize"]:
            total /= divisor
        if group.settings["lambda"] != 1:
            total *= group.settings["lambda"]
        return base + total


@final
class TaskArithmetic(TaskVectors):
    """The base plus the weighted sum of the task vectors (Ilharco et al. 2023)."""

    parameters: ClassVar = (WEIGHT, DENSITY, normalize(False), rescale(False), LAMBDA)


def masked(vector: torch.Tensor, kept: torch.Tensor, group: Group) -> torch.Tensor:
    """A task vector where it is kept; scaled to its L1 norm, if the recipe says ``rescale``.

    Args:
        vector: any shape.
        kept: bool, or 1 and 0, the same shape.
        group: whose settings say it.
    """
    left = vector * kept.to(vector.dtype)
    if not group.settings["rescale"]:
        return left
    before, after = vector.abs().sum(), left.abs().sum()
    if before < _LEAST_NORM or after < _LEAST_NORM:
        return left
    return left * (before / after)


def _summed(vectors: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    divisor = weights.sum(0)
    divisor[divisor.abs() < _LEAST_WEIGHT] = 1
    return vectors.sum(0), divisor


def _elected(vectors: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the tasks whose sign is that of the sum of all; plus, where that is zero."""
    sign = (vectors.sum(0) >= 0).to(vectors.dtype) * 2 - 1
    agree = vectors.sign() == sign
    divisor = (weights * agree).sum(0)
    divisor[divisor == 0] = 1
    return (vectors * agree).sum(0), divisor
