"""The best linear head on features that stay as they are: what the base knows without training."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 100
_RIDGE = 1e-3


def fit_probe(features: Tensor, labels: Tensor, classes: int) -> nn.Linear:
    """Multinomial logistic regression with a small ridge, by L-BFGS.

    Args:
        features: float32 [n, width]; standardised inside, undone in the head that is returned.
        labels: int64 [n].
        classes: number of classes.

    Returns:
        A linear map from raw features to logits.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    standard = (features - mean) / deviation
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimiser.zero_grad()
        error = functional.cross_entropy(functional.linear(standard, weight, bias), labels)
        loss = error + _RIDGE * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    head = nn.Linear(features.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(weight / deviation)
        head.bias.copy_(bias - (weight / deviation) @ mean)
    return head
