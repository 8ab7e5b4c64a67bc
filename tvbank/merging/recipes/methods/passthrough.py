"""``passthrough``: one model as it is, for slices that stack layers of several models."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Parameter, RecipeMethod


@final
class Passthrough(RecipeMethod):
    """The one model, times ``scale`` where there is one."""

    parameters: ClassVar = (Parameter("scale", default=None, of="model"),)
    base: ClassVar = "ignored"
    most: ClassVar = 1

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        (only,) = group.inputs
        scale = only.settings["scale"]
        return only.weights if scale is None else only.weights * scale
