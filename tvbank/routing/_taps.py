"""Hooks that keep what modules return, and stop the forward pass behind the last of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from tvbank.errors import UsageError
from tvbank.routing._inputs import Forward
from tvbank.routing._pooling import main_tensor
from tvbank.routing.recipe import BEFORE_CLASSIFIER

#: So many linear layers, the last ones called, may be the classifier; more would cost memory.
_LATEST = 4


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
    """Run a model as far as it takes to see what the named modules return.

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
        """All that was asked for is there."""

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
