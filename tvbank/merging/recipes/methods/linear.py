"""``linear``: the weighted mean of all models (Wortsman et al. 2022)."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Parameter, RecipeMethod


@final
class Linear(RecipeMethod):
    """``sum of weight * model``, divided by the sum of the weights unless ``normalize`` is false.

    The base, if the recipe has one, is a model like any other. Summed in float32.
    """

    parameters: ClassVar = (
        Parameter("weight", of="model"),
        Parameter("normalize", default=True, kind=bool),
    )
    base: ClassVar = "ignored"

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        first = group.inputs[0].weights
        dtype = torch.float64 if first.dtype == torch.float64 else torch.float32
        weights = torch.tensor([each.settings["weight"] for each in group.inputs], dtype=dtype)
        total = torch.zeros_like(first, dtype=dtype)
        for each, weight in zip(group.inputs, weights, strict=True):
            total.addcmul_(each.weights, weight)
        if group.settings["normalize"]:
            total /= weights.sum()
        return total.to(first.dtype)
