"""What writes to the weights of a live model behind a switch: optimisers, and other ways."""

from __future__ import annotations

import numpy as np
import torch


class Sign(torch.optim.Optimizer):
    """As Lion: a step of one size in the direction of the gradient; written behind torch's back."""

    def __init__(self, params):
        super().__init__(params, {})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for param in group["params"]:
                param.data.numpy()[...] -= 0.01 * np.sign(param.grad.numpy())


def variants():
    optim = torch.optim
    for kind in (optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad):
        for option in ("plain", "foreach", "fused"):
            chosen = {"foreach": option == "foreach", "fused": option == "fused"}
            yield f"{kind.__name__} {option}", lambda p, k=kind, c=chosen: k(p, lr=0.01, **c)
    for kind in (optim.RMSprop, optim.Adafactor, optim.NAdam, optim.Rprop):
        yield kind.__name__, lambda p, k=kind: k(p, lr=0.01)
    yield "LBFGS", lambda p: optim.LBFGS(p, lr=0.01)
    yield "Sign", Sign


OPTIMISERS = dict(variants())


def train(model, optimiser, inputs=None):
    """One step of an optimiser, of some loss."""
    inputs = torch.ones(3, 24) if inputs is None else inputs

    def loss():
        optimiser.zero_grad()
        value = model(inputs).square().sum()
        value.backward()
        return value

    if isinstance(optimiser, torch.optim.LBFGS):
        optimiser.step(loss)
    else:
        loss()
        optimiser.step()


def storage(tensor):
    tensor.untyped_storage().copy_(torch.zeros_like(tensor).untyped_storage())


def numpy_view(tensor):
    tensor.detach().numpy()[...] += 0.5


def data(tensor):
    tensor.data.mul_(1.5)


def data_copy(tensor):
    tensor.data.copy_(torch.zeros_like(tensor))


def foreach(tensor):
    torch._foreach_add_([tensor.data], 0.5)


def in_memory(tensor):
    """The entries of a tensor without gaps, as they lie."""
    return tensor.detach().as_strided((tensor.numel(),), (1,)).numpy()


def shared_memory(tensor):
    np.frombuffer(memoryview(in_memory(tensor)).cast("B"), np.uint8)[...] ^= 1


def touched_only(tensor):
    in_memory(tensor)[::3] += 0.5


def inference(tensor):
    with torch.inference_mode():
        tensor.data.add_(1)


WRITES = [
    storage, numpy_view, data, data_copy, foreach, shared_memory, touched_only, inference,
]  # fmt: skip
