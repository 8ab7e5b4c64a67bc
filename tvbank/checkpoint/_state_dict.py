"""Checkpoints in memory: mappings of names to torch tensors or numpy arrays.

Torch is imported by whatever made its tensors, never from here on their behalf.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard, final

import numpy as np

from tvbank.checkpoint._checkpoint import Checkpoint, TensorSpec, supported_spec
from tvbank.dtypes import DTYPES, ELEMENT_TYPES
from tvbank.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["StateDictCheckpoint", "is_torch_module", "is_torch_tensor", "open_module"]


def is_torch_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_torch_module(value: object) -> TypeGuard[torch.nn.Module]:
    """Whether a value is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


@final
class StateDictCheckpoint(Checkpoint):
    """A state dict. Nothing is copied until it is read, and then only what is not contiguous.

    Names of the same storage, offset, shape, strides and element type are tied to the first of
    them. Views that overlap otherwise are tensors of their own.
    """

    def __init__(
        self,
        state_dict: Mapping[str, Any],
        source: str,
        buffers: Mapping[str, bool] | None = None,
    ) -> None:
        """Describe the entries of a state dict.

        Args:
            state_dict: name -> ``torch.Tensor`` or ``numpy.ndarray``, on any device.
            source: a few words, or the file that it was loaded from.
            buffers: whether an entry is a buffer of the module that it comes from, by its name.

        Raises:
            CheckpointError: an entry that is not a tensor, or a tensor that no bank can hold:
                without weights of its own (meta, lazy, wrapped), not dense (sparse, nested), or of
                another element type (quantised, object, strings…).
        """
        tensors: dict[str, TensorSpec] = {}
        tied: dict[str, str] = {}
        owners: dict[Hashable, str] = {}
        self._entries: dict[str, torch.Tensor | np.ndarray[Any, Any]] = {}
        self._buffers = buffers or {}
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
            return value.astype(DTYPES[spec.dtype], copy=False)
        return _contents(self.source, spec, value)

    def is_buffer(self, name: str) -> bool | None:
        """See ``Checkpoint.is_buffer``."""
        return self._buffers.get(name)

    def _close(self) -> None:
        self._entries.clear()
        self.module = None


def open_module(module: torch.nn.Module) -> StateDictCheckpoint:
    """The state dict of a module, which also tells its parameters from its buffers.

    Raises:
        CheckpointError: as ``StateDictCheckpoint``; or the module was traced or scripted, or makes
            no state dict.
    """
    import torch

    kind = type(module).__name__
    source = f"the module {kind}"
    try:
        buffers = {name: True for name, _ in module.named_buffers(remove_duplicate=False)}
        buffers |= {name: False for name, _ in module.named_parameters(remove_duplicate=False)}
        state_dict = module.state_dict()
    except Exception as error:  # hooks of wrappers can raise anything
        raise CheckpointError(
            f"{source} makes no state dict ({type(error).__name__}: {error}); give one that you "
            "have made of it"
        ) from error
    if isinstance(module, torch.jit.ScriptModule):
        if not state_dict:
            raise CheckpointError(
                f"{source} is traced, scripted or frozen and has no weights of its own any more: "
                "give the module that it was made of"
            )
        state_dict = {name: tensor.detach() for name, tensor in state_dict.items()}
    offloaded = [
        name for name, value in state_dict.items() if is_torch_tensor(value) and value.is_meta
    ]
    if offloaded and any(hasattr(part, "_hf_hook") for part in module.modules()):
        raise CheckpointError(
            f"{source}: tensor {offloaded[0]!r} and {len(offloaded) - 1} more are offloaded by "
            "accelerate and have no weights here; load the model without offloading, or remove the "
            "hooks (accelerate.hooks.remove_hook_from_submodules)"
        )
    checkpoint = StateDictCheckpoint(state_dict, source, buffers)
    checkpoint.module = module
    return checkpoint


def _describe(source: str, name: object, value: object) -> tuple[TensorSpec, Hashable | None]:
    """An entry's spec, and what it has in common with other names of the same storage, if any."""
    if not isinstance(name, str):
        raise CheckpointError(f"{source}: the key {name!r} is not a string; name every tensor")
    if isinstance(value, np.ndarray):
        return supported_spec(source, name, value.dtype.name, value.shape), _array_identity(value)
    if is_torch_tensor(value):
        if obstacle := _obstacle(value):
            raise CheckpointError(f"{source}: tensor {name!r} {obstacle}")
        return supported_spec(source, name, _dtype(value), value.shape), _tensor_identity(value)
    raise CheckpointError(
        f"{source}: entry {name!r} is not a tensor but of type {type(value).__name__}; leave it "
        "out, and keep it among the task's metadata if it matters"
    )


def _array_identity(array: np.ndarray[Any, Any]) -> Hashable | None:
    if array.size == 0:
        return None
    address, _ = array.__array_interface__["data"]
    return "numpy", address, array.shape, array.strides, array.dtype.name, array.dtype.byteorder


def _tensor_identity(tensor: torch.Tensor) -> Hashable | None:
    """Storage and offset make the address; lazy conjugates and negatives share it and differ."""
    if tensor.numel() == 0:
        return None
    lazy = (tensor.is_conj(), tensor.is_neg())
    address = (str(tensor.device), tensor.data_ptr())
    return "torch", address, tuple(tensor.shape), tensor.stride(), tensor.dtype, lazy


def _obstacle(tensor: torch.Tensor) -> str | None:
    """Why a bank cannot hold the tensor, and what to do about it; None if it can."""
    import torch

    # In this order: a lazy parameter has no shape, a nested tensor no storage.
    if torch.nn.parameter.is_lazy(tensor):
        return "is an uninitialised parameter; run the model once so that it gets its shape"
    if tensor.is_nested:
        return "is a nested tensor; pad it to a dense one"
    if tensor.is_quantized:
        return f"is quantised ({_dtype(tensor)}); make it dense with .dequantize()"
    if tensor.layout != torch.strided:
        return f"is sparse ({tensor.layout}); make it dense with .to_dense()"
    if tensor.is_meta:
        return "is on the meta device and has no weights; load the weights first"
    if not _has_storage(tensor):
        return (
            f"is a {type(tensor).__name__} without storage of its own; convert it to torch.Tensor"
        )
    return None


def _has_storage(tensor: torch.Tensor) -> bool:
    """False for subclasses that wrap other tensors: all would seem to share the address 0."""
    try:
        return tensor.numel() == 0 or tensor.data_ptr() != 0
    except RuntimeError:
        return False


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _contents(source: str, spec: TensorSpec, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory if it is on the CPU, else a copy there. The strides are kept."""
    import torch

    element = ELEMENT_TYPES[spec.dtype]
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        return plain.view(getattr(torch, element.bits.name)).numpy().view(element.dtype)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise CheckpointError(
            f"{source}: tensor {spec.name!r} ({type(tensor).__name__}) cannot be read "
            f"({error}); convert it to a plain tensor on the CPU"
        ) from error
