"""Loading torch's files that hold numpy's scalars, paths or settings beside the weights.

Torch's restricted unpickler refuses a whole file for one ``numpy.float64`` among its tensors, such
as a best score. What it asks for is replaced by a class that keeps nothing and runs nothing.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, final

from tvbank._imports import needed_by

__all__ = ["LeftOut", "load_beside_numpy"]

#: What training scripts keep beside weights, and the restricted unpickler does not know.
_KNOWN = (
    *(f"numpy.{core}.multiarray.{name}"
      for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.dtypes.{name}DType" for name in (
        "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64",
        "Float16", "Float32", "Float64", "LongDouble", "Complex64", "Complex128", "Str", "Bytes",
        "DateTime64", "TimeDelta64", "Long", "ULong", "LongLong", "ULongLong", "Int", "UInt")),
    "argparse.Namespace",
    *(f"pathlib{part}.{name}" for part in ("", "._local") for name in (
        "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path", "PurePath")),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)  # fmt: skip

#: The list of what torch allows is the process's own: one file at a time changes it.
_lock = threading.Lock()


@final
class LeftOut:
    """Stands for a value that is not loaded. Whatever it is made of is forgotten."""

    def __new__(cls, *_arguments: Any) -> LeftOut:
        """Make one, from any arguments."""
        return super().__new__(cls)

    def __init__(self, *_arguments: Any) -> None:
        """Forget the arguments."""

    def __setstate__(self, _state: Any) -> None:
        """Forget the state."""


def load_beside_numpy(path: Path, mapped: bool) -> object:
    """Load a file by torch's restricted unpickler.

    Args:
        path: the file.
        mapped: whether its weights stay in the file until they are read.

    Raises:
        MissingPackageError: torch is not installed.
        Exception: whatever torch raises.
    """
    with needed_by(f"{str(path)!r}, which torch.save wrote,"):
        import torch

    def load() -> object:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)

    try:
        return load()
    except Exception as error:
        if not any(name in str(error) for name in _KNOWN):
            raise
    with _lock, torch.serialization.safe_globals([(LeftOut, name) for name in _KNOWN]):
        return load()
