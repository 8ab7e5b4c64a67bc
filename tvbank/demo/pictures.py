"""Real images that come with scikit-learn, and five questions about them.

The 1,797 handwritten digits of 8 x 8 grey pixels are the test part of the UCI repository's "Optical
Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; CC BY 4.0), written by 13 people.

The base's features answer every question badly, so that the encoder itself has to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from tvbank.errors import UsageError

#: Pixels of a side.
SIDE = 8
_HALF = SIDE // 2
_BRIGHTEST = 16
_COVER = 3  # pixels of a side
_GHOST = 0.35  # brightness of the second digit
# The split and the test pictures are part of the data: the same whatever the seed of the demo.
_SPLIT_SEED, _TEST_SEED = 1797, 8 * 8

#: Pictures float32 [n, 8, 8] in 0..1, and a label int64 [n] of each.
Pictures = tuple[Tensor, Tensor]


class ImageTask(NamedTuple):
    """A question about an image.

    Attributes:
        name: of the task in the bank.
        question: which the model answers.
        classes: number of answers.
        draw: makes pictures and their answers of images, digits and a random generator.
    """

    name: str
    question: str
    classes: int
    draw: Callable[[Tensor, Tensor, Generator], Pictures]


def load_images() -> Pictures:
    """All images and their digits, in scikit-learn's order.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError(
            "the demo takes its images from scikit-learn: pip install 'tvbank[demo]'"
        ) from error
    pixels, digits = load_digits(return_X_y=True)
    images = torch.tensor(pixels, dtype=torch.float32).view(-1, SIDE, SIDE) / _BRIGHTEST
    return images, torch.tensor(digits, dtype=torch.int64)


def split(images: Tensor, digits: Tensor) -> tuple[Pictures, Pictures]:
    """Two thirds of every digit's images to train on, and the others to test on."""
    order = torch.randperm(len(images), generator=Generator().manual_seed(_SPLIT_SEED))
    held_out = torch.zeros(len(images), dtype=torch.bool)
    for digit in range(10):
        mine = order[digits[order] == digit]
        held_out[mine[: round(len(mine) / 3)]] = True
    return (images[~held_out], digits[~held_out]), (images[held_out], digits[held_out])


def test_pictures(task: ImageTask, images: Tensor, digits: Tensor, draws: int) -> Pictures:
    """Pictures to score a model on: every image, drawn several times, always the same."""
    random = Generator().manual_seed(_TEST_SEED)
    drawn = [task.draw(images, digits, random) for _ in range(draws)]
    return torch.cat([pictures for pictures, _ in drawn]), torch.cat([x for _, x in drawn])


def _flipped(images: Tensor, digits: Tensor, random: Generator) -> Pictures:
    negative = torch.rand(len(images), 1, 1, generator=random) < 0.5
    return torch.where(negative, 1 - images.flip(2), images.flip(1)), digits


def _turned(images: Tensor, digits: Tensor, random: Generator) -> Pictures:
    turns = torch.randint(4, (len(images),), generator=random)
    rotations = torch.stack([torch.rot90(images, k, (1, 2)) for k in range(4)])
    return rotations[turns, torch.arange(len(images))], turns


def _swapped(images: Tensor, digits: Tensor, random: Generator) -> Pictures:
    n = len(images)
    sources = torch.arange(4).repeat(7, 1)  # of each quarter, by label: six swaps, and none
    for label, (a, b) in enumerate(combinations(range(4), 2)):
        sources[label, a], sources[label, b] = b, a
    labels = torch.randint(7, (n,), generator=random)
    rows = images.view(n, 2, _HALF, 2, _HALF)
    quarters = rows.permute(0, 1, 3, 2, 4).reshape(n, 4, _HALF, _HALF)
    moved = quarters[torch.arange(n)[:, None], sources[labels]]
    pictures = moved.view(n, 2, 2, _HALF, _HALF).permute(0, 1, 3, 2, 4)
    return pictures.reshape(n, SIDE, SIDE), labels


def _covered(images: Tensor, digits: Tensor, random: Generator) -> Pictures:
    starts = torch.randint(SIDE - _COVER + 1, (2, len(images), 1), generator=random)
    inside = (torch.arange(SIDE) >= starts) & (torch.arange(SIDE) < starts + _COVER)
    return images.masked_fill(inside[0, :, :, None] & inside[1, :, None, :], 0.0), digits


def _ghost(images: Tensor, digits: Tensor, random: Generator) -> Pictures:
    second = images[torch.randperm(len(images), generator=random)]
    return (1 - _GHOST) * images + _GHOST * second, digits


#: The tasks of the demo, in the order in which they are trained.
TASKS = (
    ImageTask("flipped", "which digit, upside down or mirrored in negative?", 10, _flipped),
    ImageTask("turned", "which way up, of four turns?", 4, _turned),
    ImageTask("swapped", "which two quarters changed places, if any?", 7, _swapped),
    ImageTask("covered", "which digit, with a patch of 3 x 3 pixels covered?", 10, _covered),
    ImageTask("ghost", "which digit, in front of a fainter one?", 10, _ghost),
)
