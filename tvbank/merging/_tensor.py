"""Arrays of every element type as torch tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tvbank.dtypes import dtype_name, is_of_numpy

_AS_INTEGERS: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.int16)}


def to_torch(array: NDArray[Any]) -> torch.Tensor:
    """A tensor with the same bits, element type and shape; it shares memory if that is writable."""
    own = array if array.flags.writeable else array.copy()
    if is_of_numpy(array.dtype):
        return torch.from_numpy(own)
    bits = own.reshape(-1).view(_AS_INTEGERS[array.dtype.itemsize])
    dtype: torch.dtype = getattr(torch, dtype_name(array.dtype))
    return torch.from_numpy(bits).view(dtype).reshape(array.shape)
