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

__all__ = ["Piece", "Recipe", "RenamedCheckpoint", "renamed"]


@final
@dataclass(frozen=True)
class Piece:
    """What one tensor gives to another.

    Attributes:
        source: the checkpoint's name of the tensor, or how that is read.
        window: which part of it; ``None`` for all.
        at: where that goes; ``None`` for all of the tensor that is made.
    """

    source: str | Recipe
    window: Window | None = None
    at: Window | None = None


@final
@dataclass(frozen=True)
class Recipe:
    """How a tensor is read from those of a checkpoint.

    Attributes:
        pieces: what it is made of; every entry once.
        shape: of the tensor; ``None`` for one of the checkpoint's as it is.
    """

    pieces: Sequence[Piece]
    shape: tuple[int, ...] | None = None

    @property
    def names(self) -> list[str]:
        """The checkpoint's names of all that is read."""
        return [
            name
            for piece in self.pieces
            for name in ([piece.source] if isinstance(piece.source, str) else piece.source.names)
        ]


def renamed(name: str) -> Recipe:
    """One of the checkpoint's tensors as it is."""
    return Recipe([Piece(name)])


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
        used = {name for recipe in recipes.values() for name in recipe.names}
        used |= {inner.tied.get(name, name) for name in used}
        kept = [n for n in (*inner.tensors, *inner.tied) if n not in used and n not in recipes]
        every = {name: renamed(name) for name in kept} | dict(recipes)
        self._recipes: dict[str, Recipe] = {}
        owners: dict[str, str] = {}
        tied: dict[str, str] = {}
        tensors: dict[str, TensorSpec] = {}
        for name, recipe in every.items():
            whole = recipe.shape is None
            first = recipe.names[0]
            tensor = inner.tied.get(first, first)
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
        pieces = (piece for name in owners for piece in self._recipes[name].names)
        self._inner.expect(dict.fromkeys(pieces))

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        recipe = self._recipes.get(self.tied.get(name, name))
        return None if recipe is None else self._inner.is_buffer(recipe.names[0])

    def origin(self, name: str) -> str | None:
        """The checkpoint's own name of a tensor; None of one that it has not, or not as it is."""
        recipe = self._recipes.get(self.tied.get(name, name))
        if recipe is None or recipe.shape is not None:
            return None
        return recipe.names[0]

    def _read(self, spec: TensorSpec) -> NDArray[Any]:
        recipe = self._recipes[spec.name]
        if recipe.shape is None:
            return self._inner.read(recipe.names[0])
        return self._made(recipe, recipe.shape, DTYPES[spec.dtype])

    def _made(self, recipe: Recipe, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        if len(recipe.pieces) == 1 and recipe.pieces[0].at is None:
            return self._part(recipe.pieces[0], dtype).reshape(shape)
        made = np.empty(math.prod(shape), dtype).reshape(shape)
        for piece in recipe.pieces:
            place = made if piece.at is None else piece.at.of_array(made, writeable=True)
            place[...] = self._part(piece, dtype).reshape(place.shape)
        return made

    def _part(self, piece: Piece, dtype: np.dtype[Any]) -> NDArray[Any]:
        source = piece.source
        if isinstance(source, str):
            whole = self._inner.read(source)
        else:
            assert source.shape is not None  # what is made of others has one
            whole = self._made(source, source.shape, dtype)
        return whole if piece.window is None else piece.window.of_array(whole)

    def _close(self) -> None:
        """Close nothing: the checkpoint within belongs to the caller that opened it."""
