"""State-dict entries that are numpy arrays."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from tvbank.checkpoint._spec import TensorSpec
from tvbank.dtypes import DTYPES, dtype_name
from tvbank.errors import CheckpointError

__all__ = ["array_contents", "array_identity", "array_spec"]


def array_spec(source: str, name: str, array: np.ndarray[Any, Any]) -> TensorSpec:
    """Describe an array.

    Raises:
        CheckpointError: an element type that no bank can hold (object, float128, strings…).
    """
    try:
        return TensorSpec(name, dtype_name(array.dtype), array.shape)
    except KeyError:
        raise CheckpointError(
            f"{source}: tensor {name!r} has the element type {array.dtype.name}, which no bank can "
            f"hold; convert it to one of {', '.join(DTYPES)}"
        ) from None


def array_identity(array: np.ndarray[Any, Any]) -> Hashable | None:
    """What two names of the same storage have in common; None if the array has no storage."""
    if array.size == 0:
        return None
    address, _ = array.__array_interface__["data"]
    return "numpy", address, array.shape, array.strides, array.dtype.str, array.dtype.name


def array_contents(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array itself where it is C-contiguous, aligned and little-endian; else a copy that is."""
    if array.dtype != DTYPES[spec.dtype] and array.dtype.newbyteorder() == DTYPES[spec.dtype]:
        array = array.astype(DTYPES[spec.dtype])
    # np.ascontiguousarray would make a scalar one-dimensional.
    return np.require(np.asarray(array), requirements=["C", "A"])
