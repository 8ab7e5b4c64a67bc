"""Fixed heads, full fine-tunes under them, and the image family's pre-training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from tools.bench._measure import appearing
from tools.bench.realtasks._family import Family, RealTask, pooled_features
from tvbank.demo.training import optimise, reproducible

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
    with appearing(path) as coming:
        save_file(head, coming)


Step = Callable[[], None]


@final
@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        steps: how many.
        batch: examples a step.
        rate: AdamW's highest learning rate, reached after 20 steps; then down half a cosine.
    """

    steps: int
    batch: int
    rate: float


#: Full fine-tunes of each family.
TUNING = {"minilm": Recipe(120, 32, 2e-4), "vit": Recipe(200, 24, 7e-4)}
#: The image family's base.
PRETRAINING = Recipe(600, 64, 1e-3)


def fine_tune(family: Family, task: RealTask, recipe: Recipe, seed: int, step: Step) -> Path:
    """Train every weight of the encoder under a task's fixed head; write ``tuned.safetensors``.

    Without dropout, on one thread: the same bits wherever torch's kernels are the same.
    """

    def head(features: Tensor) -> Tensor:
        return features @ task.head_weight.T + task.head_bias

    with reproducible(seed):
        model = family.model()
        loss = _loss(family, model, head, task.x_train, task.y_train, recipe, seed)
        optimise(list(model.parameters()), loss, recipe.steps, recipe.rate, step)
    return save(model, task.tuned)


def pretrain(
    family: type[Family], x: NDArray[Any], y: NDArray[Any], out: Path, recipe: Recipe, seed: int,
    step: Step,
) -> Path:  # fmt: skip
    """Train an encoder from nothing, under a head that is thrown away."""
    with reproducible(seed):
        model = family.architecture()
        width = family.pooled(model, family.inputs(x[:1])).shape[1]
        head = nn.Linear(width, int(y.max()) + 1)
        loss = _loss(family, model, head, x, y, recipe, seed)
        parameters = [*model.parameters(), *head.parameters()]
        optimise(parameters, loss, recipe.steps, recipe.rate, step)
    return save(model, out)


def save(model: nn.Module, path: Path) -> Path:
    """Write a model's weights."""
    with appearing(path) as coming:
        weights = model.state_dict().items()
        save_file({name: tensor.contiguous() for name, tensor in weights}, coming)
    return path


def _loss(
    family: Family | type[Family], model: nn.Module, head: Callable[[Tensor], Tensor],
    x: NDArray[Any], y: NDArray[Any], recipe: Recipe, seed: int,
) -> Callable[[], Tensor]:  # fmt: skip
    """The cross entropy of the next batch, in an order that the seed decides."""
    chance = np.random.default_rng(seed)
    drawn = np.concatenate(
        [chance.permutation(len(x)) for _ in range(1 + recipe.steps * recipe.batch // len(x))]
    )
    batches = iter(np.split(drawn[: recipe.steps * recipe.batch], recipe.steps))

    def loss() -> Tensor:
        rows = next(batches)
        logits = head(family.pooled(model, family.inputs(x[rows])))
        return functional.cross_entropy(logits, torch.from_numpy(y[rows]).long())

    return loss
