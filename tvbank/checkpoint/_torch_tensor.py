"""State-dict entries that are torch tensors. Torch is imported by whoever made the tensor."""

from __future__ import annotations

import sys
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from tvbank.checkpoint._spec import TensorSpec, supported_spec
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = [
    "is_torch_module",
    "is_torch_tensor",
    "tensor_contents",
    "tensor_identity",
    "tensor_spec",
]

#: Integers of the same width, as which the types that numpy itself lacks are handed over.
_CARRIERS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}


def is_torch_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_torch_module(value: object) -> TypeGuard[torch.nn.Module]:
    """Whether a value is a torch module, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def tensor_spec(source: str, name: str, tensor: torch.Tensor) -> TensorSpec:
    """Describe a tensor.

    Raises:
        CheckpointError: a tensor without weights of its own (meta, lazy, wrapped), one that is
            not dense (sparse, nested), or an element type that no bank can hold (quantised…).
    """
    obstacle = _obstacle(tensor)
    if obstacle is not None:
        raise CheckpointError(f"{source}: tensor {name!r} {obstacle}")
    return supported_spec(source, name, _dtype(tensor), tensor.shape)


def _obstacle(tensor: torch.Tensor) -> str | None:
    """Why a bank cannot hold the tensor, and what to do about it; None if it can."""
    import torch

    # Asked in this order: a lazy parameter has no shape, a nested tensor no storage.
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


def tensor_identity(tensor: torch.Tensor) -> Hashable | None:
    """What two names of the same storage have in common; None if the tensor has no storage.

    Storage and offset make the address. Lazy conjugates and negatives share all of it and differ.
    """
    if tensor.numel() == 0:
        return None
    lazy = (tensor.is_conj(), tensor.is_neg())
    address = (str(tensor.device), tensor.data_ptr())
    return "torch", address, tuple(tensor.shape), tensor.stride(), tensor.dtype, lazy


def tensor_contents(source: str, spec: TensorSpec, tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    """The tensor's own memory if it is on the CPU, else a copy there. The strides are kept.

    Raises:
        CheckpointError: torch refused to hand the tensor over.
    """
    import torch

    carrier = _CARRIERS.get(spec.dtype, spec.dtype)
    try:
        plain = tensor.detach().cpu().resolve_conj().resolve_neg()
        return plain.view(getattr(torch, carrier)).numpy().view(DTYPES[spec.dtype])
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise CheckpointError(
            f"{source}: tensor {spec.name!r} ({type(tensor).__name__}) cannot be read "
            f"({error}); convert it to a plain tensor on the CPU"
        ) from error
