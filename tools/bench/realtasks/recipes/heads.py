"""Fixed heads: all that a fine-tune learns is in the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from tools.bench.realtasks._accuracy import pooled_features
from tools.bench.realtasks._family import Family

_LOGIT = 15.0  # of a text that looks exactly like its class's name
_PROBED = 2000  # examples


def named_head(family: Family, names: NDArray[np.int32], x: NDArray[np.int32]) -> dict[str, Tensor]:
    """Directions of the classes' names in the base's features, as in a zero-shot head.

    Args:
        family: the base.
        names: token ids [classes, length] of the classes' names.
        x: token ids [n, length] of training texts, whose mean length sets the scale.
    """
    base = family.model()
    scale = _LOGIT / pooled_features(family, base, x[:400]).norm(dim=1).mean()
    weight = scale * functional.normalize(pooled_features(family, base, names), dim=1)
    return {"weight": weight, "bias": torch.zeros(len(weight))}


def probed_head(family: Family, x: NDArray[np.uint8], y: NDArray[np.int64]) -> dict[str, Tensor]:
    """Logistic regression on the base's features, lightly regularised.

    Args:
        family: the base.
        x: training examples.
        y: their labels.
    """
    features = pooled_features(family, family.model(), x[:_PROBED])
    labels = torch.from_numpy(y[:_PROBED]).long()
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    scaled = (features - mean) / deviation
    classes = int(y.max()) + 1
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100)

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = functional.cross_entropy(scaled @ weight.T + bias, labels)
        total = total + 1e-3 * weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)
    final = weight.detach() / deviation
    return {"weight": final.contiguous(), "bias": bias.detach() - final @ mean}


def write_head(path: Path, head: dict[str, Tensor]) -> None:
    """Write ``head.safetensors``; it appears when it is complete."""
    coming = path.with_suffix(".coming")
    save_file(head, coming)
    coming.rename(path)
