"""What the fine-tunes learn to tell: five questions about digits, drawn anew for every batch.

Each is one that the base's features answer badly, so that the encoder itself has to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import final

import torch
from torch import Generator, Tensor

from tvbank.demo.images import SIDE, Images

_HALF = SIDE // 2
_COVER = 3  # pixels of a side
_GHOST = 0.35  # brightness of the digit behind

_TEST_SEED = 8 * 8  # test pictures are the same whatever the seed of the demo

#: Pictures float32 [n, 8, 8] in 0..1, and their labels int64 [n].
Pictures = tuple[Tensor, Tensor]

#: Makes pictures and labels from images and chance.
Draw = Callable[[Images, Generator], Pictures]


@final
@dataclass(frozen=True)
class ImageTask:
    """A question about an image.

    Attributes:
        name: of the task in the bank.
        question: what the model tells.
        classes: number of answers.
        draw: makes pictures and their labels from images.
    """

    name: str
    question: str
    classes: int
    draw: Draw


def _flipped(images: Images, chance: Generator) -> Pictures:
    negative = torch.rand(len(images), 1, 1, generator=chance) < 0.5
    mirrored, upside_down = images.pixels.flip(2), images.pixels.flip(1)
    return torch.where(negative, 1 - mirrored, upside_down), images.digits


def _turned(images: Images, chance: Generator) -> Pictures:
    turns = torch.randint(4, (len(images),), generator=chance)
    rotations = torch.stack([torch.rot90(images.pixels, k, (1, 2)) for k in range(4)])
    return rotations[turns, torch.arange(len(images))], turns


def _orders() -> Tensor:
    """Where each quarter comes from, by label: six swaps of two quarters, and none: [7, 4]."""
    orders = torch.arange(4).repeat(7, 1)
    for label, (a, b) in enumerate(combinations(range(4), 2)):
        orders[label, a], orders[label, b] = b, a
    return orders


def _swapped(images: Images, chance: Generator) -> Pictures:
    n = len(images)
    labels = torch.randint(7, (n,), generator=chance)
    rows = images.pixels.view(n, 2, _HALF, 2, _HALF)
    quarters = rows.permute(0, 1, 3, 2, 4).reshape(n, 4, _HALF, _HALF)
    moved = quarters[torch.arange(n)[:, None], _orders()[labels]]
    pictures = moved.view(n, 2, 2, _HALF, _HALF).permute(0, 1, 3, 2, 4)
    return pictures.reshape(n, SIDE, SIDE), labels


def _covered(images: Images, chance: Generator) -> Pictures:
    starts = torch.randint(SIDE - _COVER + 1, (2, len(images), 1), generator=chance)
    inside = (torch.arange(SIDE) >= starts) & (torch.arange(SIDE) < starts + _COVER)
    window = inside[0, :, :, None] & inside[1, :, None, :]
    return images.pixels.masked_fill(window, 0.0), images.digits


def _ghost(images: Images, chance: Generator) -> Pictures:
    behind = images.pixels[torch.randperm(len(images), generator=chance)]
    return (1 - _GHOST) * images.pixels + _GHOST * behind, images.digits


#: The tasks of the demo, in the order in which they are trained.
TASKS = (
    ImageTask("flipped", "which digit, upside down or mirrored in negative?", 10, _flipped),
    ImageTask("turned", "which way up, of four turns?", 4, _turned),
    ImageTask("swapped", "which two quarters changed places, if any?", 7, _swapped),
    ImageTask("covered", "which digit, with a patch of 3 x 3 pixels covered?", 10, _covered),
    ImageTask("ghost", "which digit, in front of a fainter one?", 10, _ghost),
)


def test_pictures(task: ImageTask, images: Images, draws: int) -> Pictures:
    """Pictures to score a model on: every image, drawn several times, always the same."""
    chance = Generator().manual_seed(_TEST_SEED)
    drawn = [task.draw(images, chance) for _ in range(draws)]
    return torch.cat([pictures for pictures, _ in drawn]), torch.cat([x for _, x in drawn])
