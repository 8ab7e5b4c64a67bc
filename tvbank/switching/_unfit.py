"""Why a model cannot be switched: the cause by name, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

_LOAD = "load the model into plain memory first"


def unfit(tensor: torch.Tensor) -> str | None:
    """Why a tensor has no plain memory to write to, with a remedy; ``None`` if it has."""
    kind = type(tensor).__name__
    if torch.nn.parameter.is_lazy(tensor):
        return "is not initialised yet (a lazy module): run one batch through the model first"
    if getattr(tensor, "ds_id", None) is not None and tensor.numel() == 0:
        return "is partitioned by DeepSpeed ZeRO-3: gather the parameters first"
    if tensor.is_meta:
        return (
            "is on the meta device and has no memory: load the model without empty or offloaded "
            "weights (no device_map with offload; accelerate.hooks.remove_hook_from_module("
            "model, recurse=True) brings offloaded ones back)"
        )
    if getattr(tensor, "quant_state", None) is not None or kind in ("Params4bit", "Int8Params"):
        return f"is quantised ({kind}): load the model in the base's own element types"
    if tensor.is_quantized:
        return "is quantised: load the model in the base's own element types"
    if tensor.layout != torch.strided:
        layout = str(tensor.layout).removeprefix("torch.")
        return f"is sparse ({layout}): make it dense, with .to_dense()"
    if hasattr(type(tensor), "full_tensor") or hasattr(tensor, "_local_tensor"):
        return (
            "is distributed (DTensor): attach to a model that is not sharded, or to one made of "
            "full_tensor() of every parameter"
        )
    if isinstance(tensor, torch.nn.Parameter):
        known = (torch.Tensor, torch.nn.Parameter, torch.nn.Buffer)
        data: Any = tensor.data
        if type(data) not in known and is_wrapper(data):
            return f"is a {type(data).__name__}, which keeps its values elsewhere: {_LOAD}"
    if is_wrapper(tensor):
        return f"is a {kind}, which keeps its values elsewhere: {_LOAD}"
    try:
        address = tensor.data_ptr()
    except (RuntimeError, NotImplementedError):
        return f"is a {kind} without memory of its own: {_LOAD}"
    if address == 0 and tensor.numel():
        return f"has no memory: its storage was freed (FSDP, offloading); {_LOAD}"
    return None


def is_wrapper(tensor: torch.Tensor) -> bool:
    """Whether a tensor is of a subclass that computes operations by itself."""
    kinds = type(tensor).__mro__
    own = kinds[: kinds.index(torch.Tensor)]
    return any({"__tensor_flatten__", "__torch_dispatch__"} & vars(kind).keys() for kind in own)


def cause_of_missing(model: torch.nn.Module) -> str | None:
    """What a model is, if it may lack units of its base for that reason: a clause and a remedy."""
    return next(_causes(model.modules()), None)


def _causes(modules: Iterable[torch.nn.Module]) -> Iterator[str]:
    for module in modules:
        if isinstance(module, torch.jit.ScriptModule):
            yield "it is traced, scripted or frozen: attach to the module it was made of"
            continue
        kind = f"{type(module).__module__}.{type(module).__name__}"
        names = {*module._parameters, *module._buffers}
        if "quantized" in kind or type(module).__name__ in ("Linear4bit", "Linear8bitLt"):
            yield f"it is quantised ({kind}): load it in the base's own element types"
        elif hasattr(module, "_flat_param") or type(module).__name__ == "FullyShardedDataParallel":
            yield "FSDP has wrapped it and flattened its weights: attach to a model without it"
        elif hasattr(module, "parametrizations"):
            yield (
                "its weights are parametrised: call "
                "torch.nn.utils.parametrize.remove_parametrizations, or build the bank from a "
                "base that has them"
            )
        elif {"weight_g", "weight_v"} <= names or {"weight_orig"} <= names:
            yield (
                "its weights are computed from others by torch.nn.utils (weight_norm, "
                "spectral_norm, prune): call the remove function of the same module, or build the "
                "bank from a base that has them"
            )
