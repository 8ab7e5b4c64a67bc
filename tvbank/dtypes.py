"""The element types of checkpoints by name, bfloat16 and float8 included (as ``ml_dtypes``)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

#: Element types whose units live in the layout's address space: deltas and exact steps exist.
UNIT_DTYPES = ("float32", "float16", "bfloat16")

_EXTENSION = ("bfloat16", "float8_e4m3fn", "float8_e5m2")
_BUILTIN = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64",
)  # fmt: skip

#: Every element type that a bank can hold.
DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(name).newbyteorder("<") for name in _BUILTIN},
    **{name: np.dtype(getattr(ml_dtypes, name)) for name in _EXTENSION},
}


def is_of_numpy(dtype: np.dtype[Any]) -> bool:
    """Whether numpy has an element type by itself, not through ``ml_dtypes``.

    ``dtype.kind`` does not tell: of the float8 types one has the kind of a float, one has not.
    """
    return dtype.name in _BUILTIN


def dtype_name(dtype: np.dtype[Any]) -> str:
    """The name under which ``DTYPES`` lists a numpy element type.

    Raises:
        KeyError: for an element type that no bank can hold.
    """
    name = dtype.name
    if name not in DTYPES:
        raise KeyError(name)
    return name
