"""The one training loop: AdamW, warming up and then down half a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from tvbank.demo.progress import Step

_WARM_UP = 20


def optimise(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[], Tensor],
    steps: int,
    rate: float,
    step: Step,
) -> None:
    """Minimise a loss.

    Args:
        parameters: what to change.
        loss: draws a batch and returns its loss, a 0-d tensor.
        steps: how many.
        rate: the highest learning rate, reached after 20 steps.
        step: called after every step.
    """
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda done: min(1.0, (done + 1) / _WARM_UP) * (1 + math.cos(math.pi * done / steps)) / 2,
    )
    for _ in range(steps):
        optimiser.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        step()
