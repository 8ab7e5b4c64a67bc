"""``ties``: the largest entries of every task, and of these the sign that weighs more."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Input
from tvbank.merging.recipes.methods.task_vectors import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    TaskVectors,
    masked,
    normalize,
    rescale,
)
from tvbank.merging.recipes.methods.trimming import among_largest


@final
class Ties(TaskVectors):
    """Trim each tensor of a task, elect a sign, mean over those that agree (Yadav et al. 2023).

    Kept are the whole part of ``density * n`` entries, at least one. The mean is by the weights of
    those that agree: ``tvbank.Ties(across="unit", divide_by="weights")`` is nearly the same.
    """

    parameters: ClassVar = (WEIGHT, DENSITY, normalize(True), rescale(False), LAMBDA)
    elects: ClassVar = True

    def trim(self, vector: torch.Tensor, of: Input, group: Group) -> torch.Tensor:
        """See ``TaskVectors.trim``."""
        density = of.settings["density"]
        if density >= 1:
            return vector
        if density <= 0:
            return torch.zeros_like(vector)
        count = max(1, int(density * vector.numel()))
        kept = among_largest(vector.abs().reshape(-1).float(), count)
        return masked(vector, kept.reshape(vector.shape), group)
