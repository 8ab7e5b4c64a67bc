"""Checkpoints in memory: mappings of names to torch tensors or numpy arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tvbank.checkpoint._checkpoint import Checkpoint
from tvbank.checkpoint._numpy_array import array_contents, array_identity, array_spec
from tvbank.checkpoint._spec import TensorSpec
from tvbank.checkpoint._torch_tensor import (
    is_torch_tensor,
    tensor_contents,
    tensor_identity,
    tensor_spec,
)
from tvbank.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["StateDictCheckpoint"]


@final
class StateDictCheckpoint(Checkpoint):
    """A state dict. Nothing is copied until it is read, and then only what is not contiguous.

    Names of the same storage, offset, shape, strides and element type are tied to the first of
    them. Views that overlap otherwise are tensors of their own.
    """

    def __init__(self, state_dict: Mapping[str, Any], source: str) -> None:
        """Describe the entries of a state dict.

        Args:
            state_dict: name -> ``torch.Tensor`` or ``numpy.ndarray``, on any device.
            source: a few words, or the file that it was loaded from.

        Raises:
            CheckpointError: an entry that is not a tensor, or a tensor that no bank can hold.
        """
        tensors: dict[str, TensorSpec] = {}
        tied: dict[str, str] = {}
        owners: dict[Hashable, str] = {}
        self._entries: dict[str, torch.Tensor | np.ndarray[Any, Any]] = {}
        for name, value in state_dict.items():
            spec, identity = _describe(source, name, value)
            owner = name if identity is None else owners.setdefault(identity, name)
            if owner == name:
                tensors[name] = spec
                self._entries[name] = value
            else:
                tied[name] = owner
        super().__init__(source, tensors, tied)

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        value = self._entries[spec.name]
        if isinstance(value, np.ndarray):
            return array_contents(spec, value)
        return tensor_contents(self.source, spec, value)

    def _close(self) -> None:
        self._entries.clear()


def _describe(source: str, name: object, value: object) -> tuple[TensorSpec, Hashable | None]:
    if not isinstance(name, str):
        raise CheckpointError(f"{source}: the key {name!r} is not a string; name every tensor")
    if isinstance(value, np.ndarray):
        return array_spec(source, name, value), array_identity(value)
    if is_torch_tensor(value):
        return tensor_spec(source, name, value), tensor_identity(value)
    raise CheckpointError(
        f"{source}: entry {name!r} is not a tensor but of type {type(value).__name__}; leave it "
        "out, and keep it among the task's metadata if it matters"
    )
