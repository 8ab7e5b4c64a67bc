"""Forward passes: examples in batches, and hooks that keep what modules return.

A pass ends after the deepest module of which the output is wanted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing.recipe import BEFORE_CLASSIFIER

#: Examples along dimension 0.
Inputs = torch.Tensor | Mapping[str, torch.Tensor]

#: Called with a model and a batch of inputs.
Forward = Callable[[Any, Any], Any]

#: The input that says which tokens count.
MASK = "attention_mask"

#: Members of an output that hold the features, in the order in which they are looked for.
_MEMBERS = ("last_hidden_state", "logits", "hidden_states")

#: How many of the linear layers called last may be the classifier; more would cost memory.
_LATEST = 4


def run_model(model: Any, batch: Any) -> Any:
    """The default ``forward``: ``model(batch)``, or ``model(**batch)`` for a dict."""
    return model(**batch) if isinstance(batch, Mapping) else model(batch)


def checked_inputs(inputs: Any) -> Inputs:
    """Tensors, of arrays too, with one size along dimension 0.

    Raises:
        UsageError: says what is wrong.
    """
    if not isinstance(inputs, Mapping):
        return _tensor(inputs, "the inputs")
    if not inputs:
        raise UsageError("the inputs are an empty dict: give at least one tensor")
    tensors = {str(name): _tensor(value, f"input {name!r}") for name, value in inputs.items()}
    sizes = {name: len(tensor) for name, tensor in tensors.items()}
    if len(set(sizes.values())) > 1:
        raise UsageError(f"the inputs differ in their number of examples: {sizes}")
    return tensors


def _tensor(value: Any, what: str) -> torch.Tensor:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, torch.Tensor) or not value.ndim:
        raise UsageError(
            f"{what}: expected a tensor with examples along dimension 0, got {type(value).__name__}"
        )
    return value


def count(inputs: Inputs) -> int:
    """Number of examples."""
    first = inputs if isinstance(inputs, torch.Tensor) else next(iter(inputs.values()))
    return len(first)


def take(inputs: Inputs, rows: Any) -> Inputs:
    """The examples of a slice or of an index."""
    if isinstance(inputs, torch.Tensor):
        return inputs[rows]
    return {name: tensor[rows] for name, tensor in inputs.items()}


def batches(inputs: Inputs, size: int, device: torch.device | None) -> Iterator[tuple[slice, Any]]:
    """Slices of the examples, and the examples there on a device."""
    for start in range(0, count(inputs), size):
        rows = slice(start, start + size)
        batch = take(inputs, rows)
        if device is not None:
            if isinstance(batch, torch.Tensor):
                batch = batch.to(device)
            else:
                batch = {name: tensor.to(device) for name, tensor in batch.items()}
        yield rows, batch


def main_tensor(output: Any) -> torch.Tensor | None:
    """The tensor of a module's output: itself, or the first of a tuple or a record."""
    if isinstance(output, torch.Tensor):
        return output
    if isinstance(output, Mapping):
        named = [output[name] for name in _MEMBERS if name in output]
        return main_tensor(named[0] if named else next(iter(output.values()), None))
    for name in _MEMBERS:
        if isinstance(member := getattr(output, name, None), torch.Tensor):
            return member
    if isinstance(output, tuple | list) and output:
        return main_tensor(output[0])
    return None


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients; afterwards every module has the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in modes:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def tapped_outputs(
    model: nn.Module, at: Sequence[str], forward: Forward, batch: Any
) -> list[torch.Tensor]:
    """Run a model until the named modules have returned.

    Of a module that is called several times, the first call counts.

    Args:
        model: in the mode in which it is to run.
        at: names of modules; ``""`` for what enters the classifier, which takes a whole pass.
        forward: called with the model and the batch.
        batch: inputs.

    Returns:
        The output of each name, in order.

    Raises:
        UsageError: a name that the model lacks, or does not call, or whose output is no tensor.
    """

    class Enough(BaseException):  # not an Exception: models that catch those must not catch it
        """Every named module has returned."""

    modules = dict(model.named_modules())
    named = [name for name in at if name != BEFORE_CLASSIFIER]
    for name in named:
        if name not in modules:
            raise UsageError(f"the model has no module {name!r} to take features from")
    seen: dict[str, torch.Tensor] = {}

    def keep(name: str, output: Any) -> None:
        tensor = main_tensor(output)
        if tensor is None:
            raise UsageError(f"module {name!r} returns no tensor to take features from")
        seen.setdefault(name, tensor)
        if len(seen) == len(at):
            raise Enough

    with ExitStack() as hooks:
        for name in named:
            hook = modules[name].register_forward_hook(
                lambda _module, _inputs, output, name=name: keep(name, output)
            )
            hooks.callback(hook.remove)
        try:
            if len(named) < len(at):
                keep(BEFORE_CLASSIFIER, _before_classifier(model, forward, batch))
            else:
                forward(model, batch)
        except Enough:
            return [seen[name] for name in at]
    missing = ", ".join(repr(name) for name in at if name not in seen)
    raise UsageError(f"the forward pass does not call {missing}: take another module")


def _before_classifier(model: nn.Module, forward: Forward, batch: Any) -> torch.Tensor:
    """What enters the linear layer that makes the output, or the output of a model without one."""
    made: deque[tuple[torch.Tensor, torch.Tensor]] = deque(maxlen=_LATEST)
    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, nn.Linear):
                hook = module.register_forward_hook(
                    lambda _module, inputs, output: made.append((inputs[0], output))
                )
                hooks.callback(hook.remove)
        output = main_tensor(forward(model, batch))
    if output is None:
        raise UsageError("the model returns no tensor: give forward= or at=")
    for entered, left in reversed(made):
        if left is output or (left.numel() and left.data_ptr() == output.data_ptr()):
            return entered
    return output
