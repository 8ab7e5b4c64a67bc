"""``ram``, ``ramplus_tl``: means where task vectors overlap, sums where they do not."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Parameter, RecipeMethod

_EPSILON = Parameter("epsilon", default=1e-5)


@final
class Ram(RecipeMethod):
    """The base plus, at every entry, the mean over the tasks that moved it (arXiv 2601.13572).

    A task has moved an entry if its difference from the base is larger than ``epsilon``.
    """

    parameters: ClassVar = (_EPSILON,)

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        return _merge(group, None)


@final
class RamPlus(RecipeMethod):
    """As ``Ram``, with what only one task moved scaled up by how much of it others share.

    The factor of a task is ``1 + r * min(shared / unique, alpha)``, counted in the tensor.
    """

    parameters: ClassVar = (Parameter("r", default=0.1), Parameter("alpha", default=0.2), _EPSILON)

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        return _merge(group, (group.settings["r"], group.settings["alpha"]))


def _merge(group: Group, plus: tuple[float, float] | None) -> torch.Tensor:
    assert group.base is not None
    base, epsilon = group.base.weights, group.settings["epsilon"]
    if not group.others:
        return base
    vectors = torch.stack([each.weights - base for each in group.others]).flatten(1)
    moved = vectors.abs() > epsilon
    tasks = moved.sum(0)
    shared, unique = tasks > 1, tasks == 1
    vectors = vectors * moved
    alone = vectors * unique
    if plus is not None:
        r, alpha = plus
        ratio = (moved & shared).sum(1) / (moved & unique).sum(1).clamp(min=epsilon)
        alone = alone * (1 + r * ratio.clamp(min=0, max=alpha))[:, None]
    total = (alone + vectors * shared / tasks.clamp(min=1)).sum(0)
    merged: torch.Tensor = base + total.reshape(base.shape)
    return merged
