"""A part of a tensor: what another file or model holds as a tensor of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Part", "Window"]


@final
@dataclass(frozen=True)
class Window:
    """Some entries of a tensor, seen as a tensor: a slice, a transposition, a layer of a stack.

    Attributes:
        offset: entries of memory before the first.
        shape: of what is seen.
        strides: entries of memory from one to the next along each side.
    """

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of_tensor(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of a torch tensor, which shares its memory."""
        start = int(tensor.storage_offset()) + self.offset
        return tensor.detach().as_strided(self.shape, self.strides, start)

    def of_array(self, array: NDArray[Any], *, writeable: bool = False) -> NDArray[Any]:
        """The part of a C-contiguous array, which shares its memory."""
        strides = tuple(side * array.itemsize for side in self.strides)
        flat = array.reshape(-1)[self.offset :]
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=writeable)


@final
@dataclass(frozen=True)
class Part:
    """Where a tensor of a file is in a model.

    Attributes:
        name: of the model's parameter or buffer.
        window: which part of that it is; ``None`` for all of it.
    """

    name: str
    window: Window | None = None

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The tensor itself, or a view of the part of it."""
        tensor = tensors[self.name]
        return tensor if self.window is None else self.window.of_tensor(tensor)

    def replaced(self, whole: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """A tensor with another part, through which gradients flow to both; not in place."""
        if self.window is None:
            return part
        window, start = self.window, int(whole.storage_offset()) + self.window.offset
        import torch

        return torch.as_strided_scatter(whole, part, window.shape, window.strides, start)
