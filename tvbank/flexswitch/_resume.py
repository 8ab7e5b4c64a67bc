"""Reading a resume file, which anybody may have made: nothing in it is executed.

No more memory is taken than its size. The file is what ``numpy.savez`` writes: a zip file of
arrays, none of them compressed.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from tvbank._files import read_regular
from tvbank.errors import UsageError

#: Bytes that any resume file may have: scalars of 2**20 units, and more.
MOST: Final = 2**28

_REMEDY = "remove it, and the learning begins anew, or name another file"


def read_arrays(path: Path, dtypes: Mapping[str, str], most: int = MOST) -> dict[str, NDArray[Any]]:
    """The arrays of a resume file, by name.

    Args:
        path: of the file.
        dtypes: every name that must be there, and no other, with its dtype.
        most: bytes that the file may have.

    Raises:
        UsageError: the file cannot be read, or is something else.
    """
    try:
        content = read_regular(path, most)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"the resume file {path} cannot be read ({why}): {_REMEDY}") from error
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            entries = file.infolist()
            if sorted(entry.filename for entry in entries) != sorted(f"{n}.npy" for n in dtypes):
                raise ValueError("it holds other arrays")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise ValueError("it is compressed")
            if sum(entry.file_size for entry in entries) > len(content):
                raise ValueError("its arrays overlap")
            return {name: _array(file.read(f"{name}.npy"), dtypes[name]) for name in dtypes}
    except Exception as error:  # what the parsers raise on damaged files has no common class
        raise UsageError(
            f"{path} is no resume file of FlexSwitch, or is damaged: {_REMEDY}"
        ) from error


def refuse(path: Path, what: str) -> UsageError:
    """The error for a resume file whose numbers make no sense, such as ``"its step is 7"``."""
    return UsageError(f"the resume file {path} does not fit the run, {what}: {_REMEDY}")


def _array(data: bytes, dtype: str) -> NDArray[Any]:
    """The array of a .npy file; its header may ask for nothing that is not there.

    Raises:
        ValueError: another dtype, another size; numpy raises more for damaged headers.
    """
    stream = io.BytesIO(data)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("another version")
    shape, transposed, found = npy.read_array_header_1_0(stream)
    rest = data[stream.tell() :]
    if found != np.dtype(dtype) or transposed or len(rest) != math.prod(shape) * found.itemsize:
        raise ValueError("another array")
    return np.frombuffer(rest, found).reshape(shape).copy()
