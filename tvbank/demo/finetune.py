"""Full fine-tunes: every weight of the encoder, and the head, trained on one task."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor
from torch.nn import functional

from tvbank.demo.images import Images
from tvbank.demo.model import Classifier
from tvbank.demo.optimise import optimise
from tvbank.demo.progress import Step
from tvbank.demo.settings import Settings
from tvbank.demo.tasks import ImageTask


def fine_tune(
    start: Classifier,
    task: ImageTask,
    images: Images,
    settings: Settings,
    chance: Generator,
    step: Step,
) -> Classifier:
    """Train a copy of a classifier, encoder and head, on one task.

    Args:
        start: the base with its probe as the head, so that the first steps do not tear down the
            base's features to suit a random head.
        task: what to learn.
        images: what to learn it from.
        settings: steps, batch and learning rate.
        chance: everything that is random here.
        step: called after every step.
    """
    model = copy.deepcopy(start)

    def loss() -> Tensor:
        drawn = torch.randint(len(images), (settings.batch,), generator=chance)
        pictures, labels = task.draw(images[drawn], chance)
        return functional.cross_entropy(model(pictures), labels)

    optimise(model.parameters(), loss, settings.tune_steps, settings.tune_rate, step)
    return model
