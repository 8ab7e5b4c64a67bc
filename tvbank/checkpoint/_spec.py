"""What is known of a tensor before its weights are read."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError

__all__ = ["TensorSpec", "supported_spec"]


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


def supported_spec(source: str, name: str, dtype: str, shape: Iterable[int]) -> TensorSpec:
    """Describe a tensor that a checkpoint holds.

    Args:
        source: the checkpoint, for the message.
        name: the tensor's name.
        dtype: its element type, as ``DTYPES`` or else the checkpoint calls it.
        shape: its shape.

    Raises:
        CheckpointError: an element type that no bank can hold.
    """
    if dtype not in DTYPES:
        raise CheckpointError(
            f"{source}: tensor {name!r} has the element type {dtype}, which no bank can hold; "
            "convert it to one that banks hold, such as float32 or bfloat16, or leave it out"
        )
    return TensorSpec(name, dtype, tuple(shape))
