"""Real images that travel inside scikit-learn: 1,797 handwritten digits of 8 x 8 grey pixels.

They are the test part of the UCI repository's "Optical Recognition of Handwritten Digits"
(E. Alpaydin, C. Kaynak; CC BY 4.0), written by 13 people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from tvbank.errors import UsageError

#: Pixels of a side.
SIDE = 8
_LEVELS = 16  # pixels are 0..16
_SPLIT_SEED = 1797  # the split is part of the data: the same whatever the seed of the demo


@final
@dataclass(frozen=True)
class Images:
    """Digits and what they are.

    Attributes:
        pixels: float32 [n, 8, 8] in 0..1.
        digits: int64 [n], 0..9.
        numbers: int64 [n], the image's place in scikit-learn's file.
    """

    pixels: Tensor
    digits: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, chosen: Tensor) -> Images:
        return Images(self.pixels[chosen], self.digits[chosen], self.numbers[chosen])


def load_images() -> Images:
    """All images, in scikit-learn's order.

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
    return Images(
        torch.tensor(pixels, dtype=torch.float32).view(-1, SIDE, SIDE) / _LEVELS,
        torch.tensor(digits, dtype=torch.int64),
        torch.arange(len(digits)),
    )


def split(images: Images, share: float = 1 / 3, seed: int = _SPLIT_SEED) -> tuple[Images, Images]:
    """Split in two, every digit in the same proportion.

    Args:
        images: what to split.
        share: of each digit's images that goes to the second part.
        seed: which images those are.

    Returns:
        The larger part, to train on, and the smaller one, to test on; no image is in both.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    held_out = torch.zeros(len(images), dtype=torch.bool)
    for digit in range(10):
        mine = order[images.digits[order] == digit]
        held_out[mine[: round(share * len(mine))]] = True
    return images[torch.nonzero(~held_out)[:, 0]], images[torch.nonzero(held_out)[:, 0]]
