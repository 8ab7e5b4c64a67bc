"""The images are real, whole, and split without overlap."""

import sys

import pytest
import torch

from tvbank.demo.images import load_images, split
from tvbank.errors import UsageError

IMAGES = load_images()


def test_images_are_scikit_learns_digits():
    assert IMAGES.pixels.shape == (1797, 8, 8)
    assert IMAGES.pixels.dtype == torch.float32
    assert (float(IMAGES.pixels.min()), float(IMAGES.pixels.max())) == (0.0, 1.0)
    assert IMAGES.digits.unique().tolist() == list(range(10))


def test_no_image_is_in_both_parts_and_none_is_lost():
    train, test = split(IMAGES)
    together = torch.cat([train.numbers, test.numbers])
    assert torch.equal(together.sort().values, torch.arange(1797))


def test_no_picture_is_in_both_parts():
    train, test = (
        {tuple(image.flatten().tolist()) for image in part.pixels} for part in split(IMAGES)
    )
    assert not train & test


def test_every_digit_is_split_in_the_same_proportion():
    _, test = split(IMAGES, share=0.25)
    for digit in range(10):
        count = int((IMAGES.digits == digit).sum())
        assert int((test.digits == digit).sum()) == round(count / 4)


def test_the_split_depends_on_its_seed_alone():
    torch.manual_seed(1)
    first = split(IMAGES)[1].numbers
    torch.manual_seed(2)
    assert torch.equal(split(IMAGES)[1].numbers, first)
    assert not torch.equal(split(IMAGES, seed=5)[1].numbers, first)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match="pip install 'tvbank\\[demo\\]'"):
        load_images()
