"""``breadcrumbs``, ``breadcrumbs_ties``: without the smallest entries and the largest."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Input, Parameter
from tvbank.merging.recipes.methods.task_vectors import (
    DENSITY,
    LAMBDA,
    WEIGHT,
    TaskVectors,
    masked,
    normalize,
    rescale,
)
from tvbank.merging.recipes.methods.trimming import among_smallest

_PARAMETERS = (
    WEIGHT, DENSITY, Parameter("gamma", default=0.01, of="others"), normalize(False),
    rescale(False), LAMBDA,
)  # fmt: skip


class _Breadcrumbs(TaskVectors):
    """Of each tensor, ``density`` of the entries, without the largest ``gamma`` of them.

    Fewer of the largest are left out if otherwise fewer than ``density`` would be kept.
    """

    parameters: ClassVar = _PARAMETERS

    def trim(self, vector: torch.Tensor, of: Input, group: Group) -> torch.Tensor:
        """See ``TaskVectors.trim``."""
        density, entries = of.settings["density"], vector.numel()
        if density >= 1:
            return vector
        count = int(density * entries)
        first = max(0, entries - count - int(of.settings["gamma"] * entries))
        sizes = vector.abs().reshape(-1).float()
        kept = among_smallest(sizes, first + count) & ~among_smallest(sizes, first)
        return masked(vector, kept.reshape(vector.shape), group)


@final
class Breadcrumbs(_Breadcrumbs):
    """The base plus the weighted sum of what is left (Davari and Belilovsky 2023)."""


@final
class BreadcrumbsTies(_Breadcrumbs):
    """The same, of the tasks that have the elected sign."""

    elects: ClassVar = True
