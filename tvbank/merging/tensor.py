"""Arrays of every element type as torch tensors, and back."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tvbank._imports import needed_by
from tvbank.dtypes import ELEMENT_TYPES

with needed_by("giving weights as torch tensors"):
    import torch


def to_torch(array: NDArray[Any]) -> torch.Tensor:
    """A tensor with the same bits, element type and shape; it shares memory if that is writable."""
    own = array if array.flags.writeable else array.copy()
    element = ELEMENT_TYPES[array.dtype.name]
    if element.of_numpy:
        return torch.from_numpy(own)
    bits = own.reshape(-1).view(element.bits)
    dtype: torch.dtype = getattr(torch, element.name)
    return torch.from_numpy(bits).view(dtype).reshape(array.shape)


def from_torch(tensor: torch.Tensor) -> NDArray[Any]:
    """An array with the same memory, element type and shape as a contiguous tensor on the CPU."""
    element = ELEMENT_TYPES[str(tensor.dtype).removeprefix("torch.")]
    if element.of_numpy:
        return tensor.numpy()
    array: NDArray[Any] = tensor.view(getattr(torch, element.bits.name)).numpy()
    return array.view(element.dtype)
