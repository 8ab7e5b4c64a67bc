"""``dare_linear``, ``dare_ties``: entries dropped at random, the others scaled up."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging._dare import kept_at_random
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


class _Dare(TaskVectors):
    """Every entry is kept with probability ``density``; the others scaled to the L1 norm.

    mergekit draws from torch's generator, in the order in which it happens to work. Here the draws
    are those of ``tvbank.Dare``: the same for a seed, a task, a unit and a position.
    """

    parameters: ClassVar = (WEIGHT, DENSITY, normalize(False), rescale(True), LAMBDA)

    def trim(self, vector: torch.Tensor, of: Input, group: Group) -> torch.Tensor:
        """See ``TaskVectors.trim``."""
        density = of.settings["density"]
        if density >= 1:
            return vector
        kept = kept_at_random(group.seed, of.model, of.unit, vector.numel(), 1 - density)
        work = vector.dtype if vector.dtype == torch.bfloat16 else torch.float32
        left = masked(vector.to(work), torch.from_numpy(kept).reshape(vector.shape), group)
        return left.to(vector.dtype)


@final
class DareLinear(_Dare):
    """The base plus the weighted sum of what is left (Yu et al. 2024)."""


@final
class DareTies(_Dare):
    """The same, of the tasks that have the elected sign."""

    elects: ClassVar = True
