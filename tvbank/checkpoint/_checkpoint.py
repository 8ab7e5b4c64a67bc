"""The one interface through which the rest of tvbank reads weights, whatever holds them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np

from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError, UnitNotFoundError

__all__ = ["Checkpoint", "TensorSpec", "supported_spec"]


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


class Checkpoint(ABC):
    """A set of named tensors that are read one at a time. A context manager.

    Attributes:
        source: where the weights come from, for messages: a path, or a few words.
        tensors: name -> spec of every tensor that owns its storage, in the order in which reading
            is cheapest (a state dict's own order; a file's order of bytes).
        tied: alias -> owner of every further name of the same storage. Aliases are not in
            ``tensors``.
        module: the ``torch.nn.Module`` whose state dict it is, if it is one's.
    """

    module: Any = None
    source: str
    tensors: Mapping[str, TensorSpec]
    tied: Mapping[str, str]

    def __init__(
        self, source: str, tensors: Mapping[str, TensorSpec], tied: Mapping[str, str]
    ) -> None:
        self.source = source
        self.tensors = MappingProxyType(dict(tensors))
        self.tied = MappingProxyType(dict(tied))
        self._closed = False

    def read(self, name: str) -> np.ndarray[Any, np.dtype[Any]]:
        """Read one tensor, bit for bit.

        Args:
            name: a name of ``tensors``, or an alias of ``tied`` (then its owner is read).

        Returns:
            An array of the spec's shape and element type (bfloat16 and float8 as ``ml_dtypes``):
            C-contiguous, aligned, little-endian, read-only. It may be a view of a memory map or of
            the tensor itself; it stays valid after ``close``.

        Raises:
            UnitNotFoundError: there is no tensor of that name.
            CheckpointError: the checkpoint is closed, or no longer holds what it held when opened.
        """
        spec = self.tensors.get(self.tied.get(name, name))
        if spec is None:
            raise UnitNotFoundError(f"{self.source} has no tensor {name!r}")
        if self._closed:
            raise CheckpointError(f"{self.source} is closed: open it again to read {name!r}")
        array = np.require(self._read(spec), requirements=["C", "ALIGNED", "ENSUREARRAY"])
        if array.shape != spec.shape or array.dtype != DTYPES[spec.dtype]:
            raise CheckpointError(
                f"{self.source}: tensor {name!r} was {spec.dtype} {list(spec.shape)} when opened "
                f"and is {array.dtype.name} {list(array.shape)} now; leave the weights alone while "
                "they are read"
            )
        array = array.view()
        array.flags.writeable = False
        return array

    def expect(self, names: Iterable[str]) -> None:  # noqa: B027 - most have nothing to do
        """Say which tensors are read next: those that come over a network then come together.

        Args:
            names: of ``tensors`` or ``tied``; they stay in memory until each has been read.

        Raises:
            UnitNotFoundError: there is no tensor of that name.
            CheckpointError: the checkpoint no longer holds what it held when opened.
        """

    def is_buffer(self, name: str) -> bool | None:
        """Whether a tensor is a buffer, and no parameter; ``None`` where only names are known.

        Args:
            name: of ``tensors`` or ``tied``.
        """
        return None

    def close(self) -> None:
        """Release the files; idempotent. Arrays already read stay valid."""
        if not self._closed:
            self._closed = True
            self._close()

    @abstractmethod
    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        """The tensor of one of ``tensors``' specs, little-endian; of any strides and alignment."""

    @abstractmethod
    def _close(self) -> None:
        """Release what is held; called once at most."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.source}: {len(self.tensors)} tensors>"
