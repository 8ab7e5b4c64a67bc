"""All of the training: a base without labels, linear probes on it, and full fine-tunes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from tvbank.demo.model import VisionTransformer
from tvbank.demo.pictures import ImageTask, Pictures
from tvbank.demo.result import Settings

_HIDDEN = 0.5  # share of the patches that the base has to fill in
_WARM_UP = 20  # steps
_PROBE_STEPS, _RIDGE = 100, 1e-3

#: Called after each step.
Step = Callable[[], object]


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch and hold it to deterministic kernels on one thread; restore all of it after.

    One thread, because sums are split by threads and so their rounding depends on how many there
    are. A second one would make a step of this small model 1.4 times as fast on idle cores, and
    five times as slow where another program keeps one busy, since both wait for the slower.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def optimise(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[], Tensor],
    steps: int,
    rate: float,
    step: Step,
) -> None:
    """Minimise a loss by AdamW, whose rate rises for 20 steps and falls by half a cosine.

    Args:
        parameters: what to change.
        loss: draws a batch and returns its loss, a 0-d tensor.
        steps: how many.
        rate: the highest learning rate.
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


def pretrain(
    images: Tensor, settings: Settings, random: Generator, step: Step
) -> VisionTransformer:
    """The base: it learns to predict the pixels of hidden patches of images from the others.

    ``random`` makes all choices except the initial weights, which torch's global generator draws.
    """
    base = VisionTransformer(settings)
    decoder = nn.Linear(settings.width, base.patch.in_features)
    hole = nn.Parameter(torch.zeros(settings.width))

    def loss() -> Tensor:
        drawn = torch.randint(len(images), (settings.batch,), generator=random)
        patches = base.patches(images[drawn])
        hidden = (torch.rand(patches.shape[:2], generator=random) < _HIDDEN)[..., None]
        embedded = torch.where(hidden, hole, base.patch(patches))
        errors = (decoder(base.encode(embedded)) - patches).square()
        mean: Tensor = (errors * hidden).sum() / (hidden.sum() * patches.shape[2])
        return mean

    parameters = [*base.parameters(), *decoder.parameters(), hole]
    optimise(parameters, loss, settings.pretrain_steps, settings.pretrain_rate, step)
    return base


def fit_probe(features: Tensor, labels: Tensor, classes: int) -> nn.Linear:
    """The best linear head on features [n, width]: logistic regression with a ridge, by L-BFGS."""
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    standard = (features - mean) / deviation
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], max_iter=_PROBE_STEPS, line_search_fn="strong_wolfe"
    )

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


def fine_tune(
    start: VisionTransformer,
    task: ImageTask,
    train: Pictures,
    settings: Settings,
    random: Generator,
    step: Step,
) -> VisionTransformer:
    """Train every weight of a copy of a model on one task.

    The model starts as the base with its probe as the head, so that the first steps do not tear
    down the base's features to suit a random head.
    """
    model, (images, digits) = copy.deepcopy(start), train

    def loss() -> Tensor:
        drawn = torch.randint(len(images), (settings.batch,), generator=random)
        pictures, labels = task.draw(images[drawn], digits[drawn], random)
        return functional.cross_entropy(model(pictures), labels)

    optimise(model.parameters(), loss, settings.tune_steps, settings.tune_rate, step)
    return model
