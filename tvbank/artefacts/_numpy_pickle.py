"""Dicts of arrays that ``numpy.save`` wrote, which are pickles: read without numpy's help.

Nothing that a pickle names is called. What an array is made of (a reconstructing function, a type,
a state) is taken by stand-ins that keep plain values; arrays are made of these once their sizes
agree with the bytes that are there. Anything else that a pickle asks for is refused by name.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank._files import read_regular
from tvbank.checkpoint import objection_to_pickle, unreadable
from tvbank.errors import CheckpointError

#: Bytes of a file that is read whole.
_MOST = 2**34

_HEADER = re.compile(rb"\{'descr': '\|O', 'fortran_order': (?:True|False), 'shape': \(\), \}\s*\Z")
_TYPE = re.compile(r"[<>|=]?[biuf][1248]\Z|[|]?O8?\Z")


def load_pickled_dict(path: Path) -> dict[str, NDArray[Any]] | None:
    """The dict of arrays in a ``.npy`` file; None if it holds an array and no pickled object.

    Raises:
        CheckpointError: truncated, or a pickle of anything but a dict of arrays.
    """
    try:
        data = read_regular(path, _MOST)
    except OSError as error:
        raise unreadable(path, error) from error
    version = data[6:8]
    width = 2 if version == b"\1\0" else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    if not _HEADER.match(data[8 + width : start]):
        return None
    pickled = data[start:]
    if objection := objection_to_pickle(io.BytesIO(pickled), arrays=True):
        raise CheckpointError(
            f"{str(path)!r} cannot be loaded safely ({objection}); do not trust it"
        )
    try:
        content = _plain(_Unpickler(io.BytesIO(pickled), path).load())
        if isinstance(content, dict):
            content = {name: _plain(value) for name, value in content.items()}
    except CheckpointError:
        raise
    except Exception as error:  # what an unpickler raises on hostile bytes has no common class
        raise CheckpointError(
            f"{str(path)!r} is truncated or damaged ({type(error).__name__}: {error}); fetch it "
            "again"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{str(path)!r} holds a {type(content).__name__}; a dict was expected"
        )
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, np.ndarray):
            raise CheckpointError(
                f"{str(path)!r}: entry {name!r} is no array but a {type(value).__name__}; it is "
                "no file of masks"
            )
    return content


@final
class _Array:
    """Stands for an array: its state."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


@final
class _Type:
    """Stands for an element type: its code and byte order."""

    def __init__(self, code: str, *_flags: Any) -> None:
        if not isinstance(code, str) or not _TYPE.match(code):
            raise ValueError(f"the element type {code!r}")
        self.code, self.order = code, ""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else ""


def _empty(*_arguments: Any) -> _Array:
    return _Array()


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("_codecs", "encode"): lambda text, how: text.encode(how) if how == "latin1" else b"",
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], path: Path) -> None:
        super().__init__(stream)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise CheckpointError(
                f"{str(self._path)!r} cannot be loaded safely (it asks for {module}.{name}, which "
                "is no array); do not trust it"
            ) from None


def _plain(value: Any) -> Any:
    """The array, or the one object in an array of objects, that a stand-in's state describes."""
    if not isinstance(value, _Array):
        return value
    _version, shape, kind, fortran, data = value.state
    if not isinstance(kind, _Type) or not isinstance(shape, tuple):
        raise ValueError("an array without a type or shape")
    size = math.prod(shape)
    if kind.code.lstrip("|").startswith("O"):
        if size != 1 or not isinstance(data, list) or len(data) != 1:
            raise ValueError("an array of several objects")
        return data[0]
    dtype = np.dtype(kind.order + kind.code.lstrip("<>|="))
    if (
        not isinstance(data, bytes)
        or min(shape, default=0) < 0
        or len(data) != size * dtype.itemsize
    ):
        raise ValueError("an array's bytes contradict its shape")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
