"""The base: an encoder that learned to fill in hidden patches of digits, without any label."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from tvbank.demo.model import VisionTransformer
from tvbank.demo.optimise import optimise
from tvbank.demo.progress import Step
from tvbank.demo.settings import Settings

_HIDDEN = 0.5  # share of the patches


def pretrain(
    pixels: Tensor, settings: Settings, chance: Generator, step: Step
) -> VisionTransformer:
    """Train an encoder to predict the pixels of hidden patches from the others.

    Args:
        pixels: images [n, 8, 8] to learn from.
        settings: sizes and steps.
        chance: what is random here, the initial weights apart (torch's global generator).
        step: called after every step.

    Returns:
        The encoder; what predicted the pixels is thrown away.
    """
    encoder = VisionTransformer(settings.width, settings.depth, settings.heads)
    decoder = nn.Linear(encoder.width, encoder.patch.in_features)
    hole = nn.Parameter(torch.zeros(encoder.width))

    def loss() -> Tensor:
        drawn = torch.randint(len(pixels), (settings.batch,), generator=chance)
        patches = encoder.patches(pixels[drawn])
        hidden = (torch.rand(patches.shape[:2], generator=chance) < _HIDDEN)[..., None]
        embedded = torch.where(hidden, hole, encoder.patch(patches))
        errors = (decoder(encoder.encode(embedded)) - patches).square()
        mean: Tensor = (errors * hidden).sum() / (hidden.sum() * patches.shape[2])
        return mean

    optimise(
        [*encoder.parameters(), *decoder.parameters(), hole],
        loss, settings.pretrain_steps, settings.pretrain_rate, step,
    )  # fmt: skip
    return encoder
