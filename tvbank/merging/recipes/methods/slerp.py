"""``slerp``: between two models along the great circle that their directions span."""

from __future__ import annotations

from typing import ClassVar, final

import torch

from tvbank.merging.recipes.method import Group, Parameter, RecipeMethod

#: Entries that are calculated with at a time, in float32.
_PIECE = 2**20

#: Cosines beyond which the directions are taken for one, and the models are mixed linearly.
_ALIGNED = 0.9995
_LEAST_NORM = 1e-8


@final
class Slerp(RecipeMethod):
    """``sin((1 - t) a) / sin(a) * base + sin(t a) / sin(a) * other``; a is the angle between them.

    One of the two models is the recipe's base: t = 0 gives it, t = 1 the other.
    """

    parameters: ClassVar = (Parameter("t"),)
    least: ClassVar = 2
    most: ClassVar = 2

    def merge(self, group: Group) -> torch.Tensor:
        """See ``RecipeMethod.merge``."""
        assert group.base is not None  # the recipe's check has seen to it
        first, second = group.base.weights, group.others[0].weights
        merged = torch.empty_like(first, memory_format=torch.contiguous_format)
        pieces = list(zip(_pieces(first), _pieces(second), strict=True))
        share, other = _factors(pieces, group.settings["t"], first.dtype)
        for (a, b), place in zip(pieces, _pieces(merged), strict=True):
            place[:] = share * a.to(share.dtype) + other * b.to(share.dtype)
        return merged


def _pieces(weights: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return torch.split(weights.reshape(-1), _PIECE)


def _factors(
    pieces: list[tuple[torch.Tensor, torch.Tensor]], t: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """What each of the two is multiplied by."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    place = torch.tensor(t, dtype=exact)
    norms = []
    for side in (0, 1):
        parts = [torch.linalg.vector_norm(pair[side].to(exact)) for pair in pieces]
        norm = torch.linalg.vector_norm(torch.stack(parts))
        norms.append(torch.where(norm > _LEAST_NORM, norm, 1))
    products = [((a.to(exact) / norms[0]) * (b.to(exact) / norms[1])).sum() for a, b in pieces]
    cosine = torch.stack(products).sum().clamp(-1, 1)
    if cosine.abs() > _ALIGNED:
        return 1 - place, place
    angle = torch.acos(cosine)
    return torch.sin((1 - place) * angle) / angle.sin(), torch.sin(place * angle) / angle.sin()
