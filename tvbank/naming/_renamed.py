"""A checkpoint under other names: some of its tensors are parts of others, or made of several."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.dtypes import DTYPES
from tvbank.naming._window import Window

__all__ = ["Recipe", "RenamedCheckpoint"]


@final
@dataclass(frozen=True)
class Recipe:
    """How a tensor is read from those of a checkpoint.

    Attributes:
        pieces: the checkpoint's tensors, and where each goes in this one; of one tensor that is
            all of it, ``None``.
        shape: of the tensor, if it is made of several or a part of one.
        window: which part of the one tensor it is.
    """

    pieces: Sequence[tuple[str, Window | None]]
    shape: tuple[int, ...] | None = None
    window: Window | None = None


@final
class RenamedCheckpoint(Checkpoint):
    """Another checkpoint's tensors by the names of recipes; nothing is copied until it is read."""

    def __init__(self, inner: Checkpoint, recipes: Mapping[str, Recipe]) -> None:
        """Name the tensors.

        Args:
            inner: the checkpoint; closing it is left to the caller.
            recipes: by new name; names of the checkpoint that none of them reads stay as they are.
        """
        self._inner = inner
        used = {inner.tied.get(n, n) for recipe in recipes.values() for n, _ in recipe.pieces}
        used |= {n for recipe in recipes.values() for n, _ in recipe.pieces}
        kept = [n for n in (*inner.tensors, *inner.tied) if n not in used and n not in recipes]
        every = {name: Recipe([(name, None)]) for name in kept} | dict(recipes)
        self._recipes: dict[str, Recipe] = {}
        owners: dict[str, str] = {}
        tied: dict[str, str] = {}
        tensors: dict[str, TensorSpec] = {}
        for name, recipe in every.items():
            whole = recipe.shape is None
            tensor = inner.tied.get(recipe.pieces[0][0], recipe.pieces[0][0])
            owner = owners.setdefault(tensor, name) if whole else name
            if owner != name:
                tied[name] = owner
                continue
            self._recipes[name] = recipe
            spec = inner.tensors[tensor]
            tensors[name] = replace(spec, name=name, shape=recipe.shape or spec.shape)
            if recipe.shape is not None:
                tensors[name] = replace(spec, name=name, shape=recipe.shape)
        super().__init__(inner.source, tensors, tied)
        self.module = inner.module

    def expect(self, names: Iterable[str]) -> None:
        """See ``Checkpoint.expect``."""
        owners = {self.tied.get(name, name): None for name in names}
        pieces = (piece for name in owners for piece, _ in self._recipes[name].pieces)
        self._inner.expect(dict.fromkeys(pieces))

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        recipe = self._recipes.get(self.tied.get(name, name))
        return None if recipe is None else self._inner.is_buffer(recipe.pieces[0][0])

    def origin(self, name: str) -> str | None:
        """The checkpoint's own name of a tensor; None of one that it has not, or not as it is."""
        recipe = self._recipes.get(self.tied.get(name, name))
        if recipe is None or recipe.shape is not None:
            return None
        return recipe.pieces[0][0]

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        recipe = self._recipes[spec.name]
        if recipe.window is not None:
            return recipe.window.of_array(self._inner.read(recipe.pieces[0][0]))
        if len(recipe.pieces) == 1 and recipe.pieces[0][1] is None:
            return self._inner.read(recipe.pieces[0][0])
        made = np.empty(math.prod(spec.shape), DTYPES[spec.dtype]).reshape(spec.shape)
        for name, window in recipe.pieces:
            place = made if window is None else window.of_array(made, writeable=True)
            place[...] = self._inner.read(name)
        return made

    def _close(self) -> None:
        """Close nothing: the checkpoint within belongs to the caller that opened it."""
