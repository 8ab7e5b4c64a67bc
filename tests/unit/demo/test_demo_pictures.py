"""The images are real, whole, and split without overlap; pictures are what their labels say."""

import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tvbank.demo.pictures import TASKS, load_images, split
from tvbank.demo.pictures import test_pictures as drawn_pictures
from tvbank.errors import UsageError

IMAGES, DIGITS = load_images()
SOME = IMAGES[:200], DIGITS[:200]
FEW, FEW_DIGITS = IMAGES[:12], DIGITS[:12]
BY_NAME = {task.name: task for task in TASKS}
SEEDS = st.integers(0, 2**32 - 1)


def draw(name, seed, images=FEW, digits=FEW_DIGITS):
    return BY_NAME[name].draw(images, digits, torch.Generator().manual_seed(seed))


def test_images_are_scikit_learns_digits():
    assert IMAGES.shape == (1797, 8, 8)
    assert IMAGES.dtype == torch.float32
    assert (float(IMAGES.min()), float(IMAGES.max())) == (0.0, 1.0)
    assert DIGITS.unique().tolist() == list(range(10))


def test_no_picture_is_in_both_parts_none_is_lost_and_digits_keep_their_shares():
    torch.manual_seed(1)  # on which the split does not depend
    parts = split(IMAGES, DIGITS)
    train, test = (
        {tuple(image.flatten().tolist()) for image in images} for images, _ in parts
    )  # fmt: skip
    assert not train & test
    assert train | test == {tuple(image.flatten().tolist()) for image in IMAGES}
    assert sum(len(images) for images, _ in parts) == 1797
    for digit in range(10):
        assert int((parts[1][1] == digit).sum()) == round(int((digit == DIGITS).sum()) / 3)
    torch.manual_seed(2)
    assert torch.equal(split(IMAGES, DIGITS)[1][0], parts[1][0])


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match="pip install 'tvbank\\[demo\\]'"):
        load_images()


@pytest.mark.parametrize("name", BY_NAME)
def test_pictures_have_their_ranges_and_the_same_seed_draws_the_same(name):
    before = SOME[0].clone()
    pictures, labels = draw(name, 0, *SOME)
    assert pictures.shape == (200, 8, 8)
    assert pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0
    assert float(pictures.max()) <= 1
    assert labels.unique().tolist() == list(range(BY_NAME[name].classes))
    assert all(map(torch.equal, draw(name, 0, *SOME), (pictures, labels)))
    assert torch.equal(SOME[0], before)


@given(SEEDS)
def test_turned_pictures_turn_back(seed):
    pictures, turns = draw("turned", seed)
    back = [torch.rot90(p, -int(k)) for p, k in zip(pictures, turns, strict=True)]
    assert torch.equal(torch.stack(back), FEW)


@given(SEEDS)
def test_swapped_pictures_differ_from_the_image_in_the_two_quarters_that_moved(seed):
    pictures, labels = draw("swapped", seed)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), ()]
    for picture, image, label in zip(pictures, FEW, labels, strict=True):
        origin = list(range(4))
        if pair := pairs[int(label)]:
            origin[pair[0]], origin[pair[1]] = pair[1], pair[0]
        for to, source in enumerate(origin):
            assert torch.equal(quarter(picture, to), quarter(image, source))


def quarter(picture, number):
    row, column = divmod(number, 2)
    return picture[4 * row : 4 * row + 4, 4 * column : 4 * column + 4]


@given(SEEDS)
def test_covered_pictures_lose_nothing_outside_one_window(seed):
    pictures, labels = draw("covered", seed)
    assert torch.equal(labels, FEW_DIGITS)
    for changed in pictures != FEW:
        rows, columns = torch.nonzero(changed, as_tuple=True)
        if len(rows):
            assert int(rows.max() - rows.min()) < 3
            assert int(columns.max() - columns.min()) < 3
    assert not pictures[pictures != FEW].any()


@given(SEEDS)
def test_flipped_pictures_are_upside_down_or_mirrored_negatives(seed):
    pictures, labels = draw("flipped", seed)
    assert torch.equal(labels, FEW_DIGITS)
    for picture, image in zip(pictures, FEW, strict=True):
        assert torch.equal(picture, image.flip(0)) or torch.equal(picture, 1 - image.flip(1))


@given(SEEDS)
def test_a_ghost_is_fainter_than_its_digit(seed):
    pictures, labels = draw("ghost", seed)
    assert torch.equal(labels, FEW_DIGITS)
    second = pictures - 0.65 * FEW
    assert float(second.max()) <= 0.35 + 1e-6
    assert float(second.min()) >= -1e-6


def test_test_pictures_draw_every_image_so_often_and_always_the_same():
    task = BY_NAME["turned"]
    pictures, labels = drawn_pictures(task, *SOME, 3)
    assert (len(pictures), len(labels)) == (600, 600)
    assert not torch.equal(pictures[:200], pictures[200:400])
    assert torch.equal(drawn_pictures(task, *SOME, 3)[0], pictures)
