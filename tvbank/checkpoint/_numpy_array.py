"""State-dict entries that are numpy arrays."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from tvbank.checkpoint._spec import TensorSpec, supported_spec
from tvbank.dtypes import DTYPES

__all__ = ["array_contents", "array_identity", "array_spec"]


def array_spec(source: str, name: str, array: np.ndarray[Any, Any]) -> TensorSpec:
    """Describe an array.

    Raises:
        CheckpointError: an element type that no bank can hold (object, float128, strings…).
    """
    return supported_spec(source, name, array.dtype.name, array.shape)


def array_identity(array: np.ndarray[Any, Any]) -> Hashable | None:
    """What two names of the same storage have in common; None if the array has no storage."""
    if array.size == 0:
        return None
    address, _ = array.__array_interface__["data"]
    return "numpy", address, array.shape, array.strides, array.dtype.name, array.dtype.byteorder


def array_contents(spec: TensorSpec, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array itself, or a copy in little-endian order."""
    return array.astype(DTYPES[spec.dtype], copy=False)
