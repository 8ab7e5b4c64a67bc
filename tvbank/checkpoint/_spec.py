"""What is known of a tensor before its weights are read."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tvbank.dtypes import DTYPES

__all__ = ["TensorSpec"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, element type and shape of one tensor of a checkpoint.

    Attributes:
        name: the tensor's name within its checkpoint.
        dtype: its element type, a key of ``tvbank.dtypes.DTYPES``.
        shape: its shape; ``()`` for a scalar, with a 0 for an empty tensor.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of entries; exact beyond 2^31 and 2^63."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes that the entries take, C-contiguous."""
        return self.size * DTYPES[self.dtype].itemsize
