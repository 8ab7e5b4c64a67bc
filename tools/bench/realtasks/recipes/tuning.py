"""Full fine-tunes, and the image family's pre-training."""

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

from tools.bench.realtasks._family import Family, RealTask
from tvbank.demo.training import optimise, reproducible

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
    with reproducible(seed):
        model = family.model()
        _train(family, model, task, recipe, seed, step)
    return save(model, task.tuned)


def pretrain(
    family: type[Family],
    x: NDArray[Any],
    y: NDArray[Any],
    out: Path,
    recipe: Recipe,
    seed: int,
    step: Step,
) -> Path:
    """Train an encoder from nothing, under a head that is thrown away."""
    with reproducible(seed):
        model = family.architecture()
        classes = int(y.max()) + 1
        width = family.pooled(model, family.inputs(x[:1])).shape[1]
        head = nn.Linear(width, classes)
        base = family(out, {})
        _optimise(
            base, model, [*model.parameters(), *head.parameters()], head, x, y, recipe, step, seed
        )
    return save(model, out)


def save(model: nn.Module, path: Path) -> Path:
    """Write a model's weights; the file appears when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coming = path.with_suffix(".coming")
    save_file({name: weights.contiguous() for name, weights in model.state_dict().items()}, coming)
    return coming.rename(path)


def _train(
    family: Family, model: nn.Module, task: RealTask, recipe: Recipe, seed: int, step: Step
) -> None:
    def head(features: Tensor) -> Tensor:
        return features @ task.head_weight.T + task.head_bias

    _optimise(
        family,
        model,
        list(model.parameters()),
        head,
        task.x_train,
        task.y_train,
        recipe,
        step,
        seed,
    )


def _optimise(
    family: Family,
    model: nn.Module,
    parameters: list[nn.Parameter],
    head: Callable[[Tensor], Tensor],
    x: NDArray[Any],
    y: NDArray[Any],
    recipe: Recipe,
    step: Step,
    seed: int,
) -> None:
    chance = np.random.default_rng(seed)
    drawn = np.concatenate(
        [chance.permutation(len(x)) for _ in range(1 + recipe.steps * recipe.batch // len(x))]
    )
    batches = iter(np.split(drawn[: recipe.steps * recipe.batch], recipe.steps))

    def loss() -> Tensor:
        rows = next(batches)
        logits = head(family.pooled(model, family.inputs(x[rows])))
        return functional.cross_entropy(logits, torch.from_numpy(y[rows]).long())

    optimise(parameters, loss, recipe.steps, recipe.rate, step)
