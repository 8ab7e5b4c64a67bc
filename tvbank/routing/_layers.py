"""The places in a model that routing could use: what blocks return, and what comes before them."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tvbank.routing._forward import Forward, main_tensor, undisturbed
from tvbank.routing.recipe import BEFORE_CLASSIFIER

#: More blocks than this are thinned out evenly.
MOST = 24

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Layer:
    """A place in a model.

    Attributes:
        name: of the module, or ``""`` for what enters the classifier.
        cost: share of the forward pass's multiplications up to there, 0..1; only those of linear
            and convolutional layers are counted.
    """

    name: str
    cost: float


@dataclass
class _Call:
    """A module's first call: what it returned, and the multiplications done by then."""

    name: str
    tensor: torch.Tensor | None
    work: float


def candidate_layers(model: nn.Module, batch: Any, forward: Forward) -> list[Layer]:
    """Places of a model in the order in which a forward pass reaches them, cheapest first.

    These are the members of the outermost lists and sequences of modules, the modules no deeper
    than those, and the place before the classifier; of places with the same output only the first.
    Only outputs that have a row for each example count.

    Args:
        model: any.
        batch: a few inputs, on the model's device.
        forward: called with both.
    """
    calls: list[_Call] = []
    work = 0.0

    def note(name: str, module: nn.Module, output: Any) -> None:
        nonlocal work
        tensor = main_tensor(output)
        if tensor is not None and isinstance(module, nn.Linear):
            work += tensor.numel() * module.in_features
        elif tensor is not None and isinstance(module, _CONVOLUTIONS):
            work += tensor.numel() * module.weight[0].numel()
        if all(call.name != name for call in calls):
            calls.append(_Call(name, tensor, work))

    with ExitStack() as hooks, undisturbed(model):
        for name, module in model.named_modules():
            if name:
                hook = module.register_forward_hook(
                    lambda module, _inputs, output, name=name: note(name, module, output)
                )
                hooks.callback(hook.remove)
        result = main_tensor(forward(model, batch))
    rows = None if result is None else len(result)
    seen = set() if result is None else {_place(result)}
    depth = max((name.count(".") for name in _blocks(model)), default=0)
    layers = []
    for call in calls:
        tensor = call.tensor
        if tensor is None or call.name.count(".") > depth or tensor.ndim < 2:
            continue
        usable = tensor.is_floating_point() and len(tensor) == rows and _place(tensor) not in seen
        if usable:
            seen.add(_place(tensor))
            layers.append(Layer(call.name, call.work / work if work else 0.0))
    return [*_thinned(layers), Layer(BEFORE_CLASSIFIER, 1.0)]


def _place(tensor: torch.Tensor) -> tuple[int, torch.Size]:
    return tensor.data_ptr(), tensor.shape


def _blocks(model: nn.Module) -> list[str]:
    """Members of the outermost lists and sequences of modules."""
    outermost: list[str] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") or not outer for outer in outermost)
        if isinstance(module, nn.ModuleList | nn.Sequential) and not inside:
            outermost.append(name)
    return [
        f"{outer}.{member}" if outer else member
        for outer in outermost
        for member, _ in model.get_submodule(outer).named_children()
    ]


def _thinned(layers: list[Layer]) -> list[Layer]:
    if len(layers) <= MOST:
        return layers
    return [layers[round(i * (len(layers) - 1) / (MOST - 1))] for i in range(MOST)]
