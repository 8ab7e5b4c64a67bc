"""Pictures are what their labels say."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tvbank.demo.images import load_images
from tvbank.demo.tasks import TASKS
from tvbank.demo.tasks import test_pictures as drawn_pictures

IMAGES = load_images()[torch.arange(200)]
FEW = IMAGES[torch.arange(12)]
BY_NAME = {task.name: task for task in TASKS}
SEEDS = st.integers(0, 2**32 - 1)


def draw(name, seed, images=IMAGES):
    return BY_NAME[name].draw(images, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BY_NAME)
def test_pictures_and_labels_have_their_shapes_and_ranges(name):
    pictures, labels = draw(name, 0)
    assert pictures.shape == (200, 8, 8)
    assert pictures.dtype == torch.float32
    assert float(pictures.min()) >= 0
    assert float(pictures.max()) <= 1
    assert labels.unique().tolist() == list(range(BY_NAME[name].classes))


@pytest.mark.parametrize("name", BY_NAME)
def test_the_same_chance_draws_the_same_and_the_images_stay_as_they_are(name):
    before = IMAGES.pixels.clone()
    first, second = draw(name, 3), draw(name, 3)
    assert all(map(torch.equal, first, second))
    assert torch.equal(IMAGES.pixels, before)


@given(SEEDS)
def test_turned_pictures_turn_back(seed):
    pictures, turns = draw("turned", seed, FEW)
    back = [torch.rot90(p, -int(k)) for p, k in zip(pictures, turns, strict=True)]
    assert torch.equal(torch.stack(back), FEW.pixels)


@given(SEEDS)
def test_swapped_pictures_differ_from_the_image_in_the_two_quarters_that_moved(seed):
    pictures, labels = draw("swapped", seed, FEW)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), ()]
    for picture, image, label in zip(pictures, FEW.pixels, labels, strict=True):
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
    pictures, labels = draw("covered", seed, FEW)
    assert torch.equal(labels, FEW.digits)
    for changed in pictures != FEW.pixels:
        rows, columns = torch.nonzero(changed, as_tuple=True)
        if len(rows):
            assert int(rows.max() - rows.min()) < 3
            assert int(columns.max() - columns.min()) < 3
    assert not pictures[pictures != FEW.pixels].any()


@given(SEEDS)
def test_flipped_pictures_are_upside_down_or_mirrored_negatives(seed):
    pictures, labels = draw("flipped", seed, FEW)
    assert torch.equal(labels, FEW.digits)
    for picture, image in zip(pictures, FEW.pixels, strict=True):
        assert torch.equal(picture, image.flip(0)) or torch.equal(picture, 1 - image.flip(1))


@given(SEEDS)
def test_a_ghost_is_fainter_than_its_digit(seed):
    pictures, labels = draw("ghost", seed, FEW)
    assert torch.equal(labels, FEW.digits)
    behind = pictures - 0.65 * FEW.pixels
    assert float(behind.max()) <= 0.35 + 1e-6
    assert float(behind.min()) >= -1e-6


def test_test_pictures_draw_every_image_so_often_and_always_the_same():
    task = BY_NAME["turned"]
    pictures, labels = drawn_pictures(task, IMAGES, 3)
    assert (len(pictures), len(labels)) == (600, 600)
    assert not torch.equal(pictures[:200], pictures[200:400])
    assert torch.equal(drawn_pictures(task, IMAGES, 3)[0], pictures)
