"""A part of a tensor: what another file or model holds as a tensor of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Part", "Parts", "Window", "assembled", "shape_of"]


@final
@dataclass(frozen=True)
class Window:
    """Some entries of a tensor, seen as a tensor: a slice, a transposition, a layer of a stack.

    Attributes:
        offset: entries of memory before the first.
        shape: of what is seen.
        strides: entries of memory from one to the next along each side.
        sides: the sides that the strides are of, if one side of the shape takes several of them:
            then views have these, and are reshaped once they are read. ``None``: the shape's own.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    sides: tuple[int, ...] | None = None

    @property
    def form(self) -> tuple[int, ...]:
        """The shape of its views."""
        return self.shape if self.sides is None else self.sides

    def of_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of a torch tensor, which shares its memory."""
        start = int(tensor.storage_offset()) + self.offset
        return tensor.detach().as_strided(self.form, self.strides, start)

    def of_array(self, array: NDArray[Any], *, writeable: bool = False) -> NDArray[Any]:
        """The part of a C-contiguous array, which shares its memory."""
        strides = tuple(side * array.itemsize for side in self.strides)
        flat = array.reshape(-1)[self.offset :]
        return np.lib.stride_tricks.as_strided(flat, self.form, strides, writeable=writeable)

    def positions_of(
        self, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of some flat positions of a tensor are seen here, and as which entry of the view.

        The strides must fall, each at least as large as all that the later sides reach.

        Returns:
            Indices into ``positions``; flat positions in the view, in the same order.
        """
        rest = positions - self.offset
        seen, inside = rest >= 0, np.zeros_like(rest)
        for side, stride in zip(self.form, self.strides, strict=True):
            index, rest = np.divmod(rest, stride)
            seen &= index < side
            inside = inside * side + index
        chosen = np.flatnonzero(seen & (rest == 0))
        return chosen, inside[chosen]


@final
@dataclass(frozen=True)
class Part:
    """Where a tensor of a file, or some of its entries, are in a model.

    Attributes:
        name: of the model's parameter or buffer.
        window: which part of that it is; ``None`` for all of it.
        at: which entries of the file's tensor are there, in a window whose views have the form of
            those of ``window``; ``None`` for all.
    """

    name: str
    window: Window | None = None
    at: Window | None = None

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The model's tensor itself, or a view of the part of it."""
        tensor = tensors[self.name]
        return tensor if self.window is None else self.window.of_tensor(tensor)

    def taken(self, tensor: torch.Tensor) -> torch.Tensor:
        """The entries of the file's tensor that are there, in the form of ``of``."""
        if self.at is not None:  # not detached: gradients may flow
            whole = tensor.contiguous()
            start = int(whole.storage_offset()) + self.at.offset
            return whole.as_strided(self.at.form, self.at.strides, start)
        return tensor if self.window is None else tensor.reshape(self.window.form)

    def replaced(self, whole: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """A tensor with another part, through which gradients flow to both; not in place.

        Args:
            whole: the model's tensor.
            part: the file's tensor.
        """
        if self.window is None:
            return part
        window, start = self.window, int(whole.storage_offset()) + self.window.offset
        import torch

        return torch.as_strided_scatter(whole, self.taken(part), window.form, window.strides, start)


#: Where a tensor of a file is in a model: mostly in one place, else some entries in each.
Parts = tuple[Part, ...]


def shape_of(
    parts: Parts, tensors: Mapping[str, torch.Tensor], shape: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape of a file's tensor as a model has it.

    Args:
        parts: where it has it.
        tensors: the model's.
        shape: of the file's tensor, by which places in several tensors were found.
    """
    if len(parts) > 1:
        return shape
    window = parts[0].window
    return tuple(tensors[parts[0].name].shape) if window is None else window.shape


def assembled(
    views: Sequence[tuple[torch.Tensor, Window | None]], shape: Sequence[int]
) -> torch.Tensor:
    """A file's tensor, from where a model has it; shares its memory if that is possible.

    Args:
        views: what ``Part.of`` gave, and ``Part.at``.
        shape: of the file's tensor.
    """
    if len(views) == 1 and views[0][1] is None:
        return views[0][0].reshape(tuple(shape))
    made = views[0][0].new_empty((math.prod(shape),))
    for view, at in views:
        assert at is not None  # several hold a part of it each
        at.of_tensor(made).copy_(view)
    return made.reshape(tuple(shape))
