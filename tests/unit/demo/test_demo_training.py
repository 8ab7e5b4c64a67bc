"""A few steps of training lower the loss; the same seed gives the same bits; files keep them."""

import copy

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.nn import functional

from tvbank.demo.model import (
    VisionTransformer,
    accuracy,
    differing_units,
    load_model,
    outputs,
    save_model,
)  # fmt: skip
from tvbank.demo.pictures import TASKS, load_images, split
from tvbank.demo.result import Settings
from tvbank.demo.training import fine_tune, fit_probe, optimise, pretrain, reproducible

SMALL = Settings(
    width=16, depth=1, heads=2, pretrain_steps=12, tune_steps=20, batch=32, tune_rate=5e-3
)
TRAIN = split(*split(*load_images())[1])[0]
IMAGES = torch.rand(10, 8, 8, generator=torch.Generator().manual_seed(0))


def small_base(seed=0, step=lambda: None):
    with reproducible(seed):
        return pretrain(TRAIN[0], SMALL, torch.Generator().manual_seed(seed), step)


def with_head(model, classes):
    model = copy.deepcopy(model)
    model.head = nn.Linear(SMALL.width, classes)
    return model


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_images_become_features_and_logits():
    model = VisionTransformer(Settings(width=24, depth=2, heads=3))
    assert model(IMAGES).shape == (10, 24)
    model.head = nn.Linear(24, 7)
    assert model(IMAGES).shape == (10, 7)
    assert not outputs(model, IMAGES).requires_grad


def test_patches_are_windows_of_four_by_four_that_overlap_by_half_and_have_positions():
    torch.manual_seed(0)
    model = VisionTransformer(SMALL)
    patches = model.patches(IMAGES)
    assert patches.shape == (10, 9, 16)
    assert torch.equal(patches[3, 5], (IMAGES[3, 2:6, 4:8].reshape(16) - 0.3) / 0.37)
    assert not torch.allclose(model(IMAGES), model(IMAGES.flip(1)))


def test_accuracy_counts_the_largest_logit():
    model = with_head(VisionTransformer(SMALL), 4)
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))
    assert accuracy(model, IMAGES, torch.tensor([2] * 7 + [0] * 3)) == 0.7


def test_optimise_lowers_a_loss_and_counts_its_steps():
    weight = nn.Parameter(torch.tensor([3.0]))
    losses, steps = [], []

    def loss():
        losses.append(float(weight.detach()) ** 2)
        return weight.square().sum()

    optimise([weight], loss, 40, 0.1, lambda: steps.append(1))
    assert len(losses) == len(steps) == 40
    assert losses[-1] < losses[0] / 2


def test_pretraining_is_reproducible_depends_on_the_seed_and_helps_the_features():
    steps = []
    base = small_base(0, lambda: steps.append(1))
    assert len(steps) == SMALL.pretrain_steps
    assert torch.equal(weights(small_base(0)), weights(base))
    assert not torch.equal(weights(small_base(1)), weights(base))
    model = with_head(base, 10)
    with reproducible(0):
        model.head = fit_probe(outputs(base, TRAIN[0]), TRAIN[1], 10)
    assert accuracy(model, *TRAIN) > 0.5


def test_the_probe_is_the_best_head_that_gradient_finds():
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 5, generator=random) * torch.tensor([1.0, 10, 0.1, 1, 1]) + 3
    labels = (inputs[:, 1] > 3).long()
    head = fit_probe(inputs, labels, 2)
    assert float((head(inputs).argmax(1) == labels).double().mean()) > 0.97


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_fine_tuning_lowers_the_loss_and_leaves_the_start_alone(task):
    random = torch.Generator().manual_seed(0)
    pictures, labels = task.draw(*TRAIN, random)
    with reproducible(0):
        start = with_head(small_base(), task.classes)
        before = weights(start)
        tuned = fine_tune(start, task, TRAIN, SMALL, random, lambda: None)

    def loss(model):
        with torch.no_grad():
            return float(functional.cross_entropy(model(pictures), labels))

    assert loss(tuned) < loss(start)
    assert torch.equal(weights(start), before)
    changed = [
        not torch.equal(a, b) for a, b in zip(start.parameters(), tuned.parameters(), strict=True)
    ]
    assert all(changed), "a full fine-tune moves every unit"


def test_reproducible_restores_what_it_changes():
    threads, state = torch.get_num_threads(), torch.get_rng_state()

    def fail():
        with reproducible(7):
            assert torch.get_num_threads() == 1
            torch.rand(1)
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_checkpoint_comes_back_and_has_the_bases_units_and_a_head(tmp_path):
    base = VisionTransformer(SMALL)
    model = with_head(base, 4)
    save_model(tmp_path / "base", base)
    save_model(tmp_path / "tuned", model)
    assert differing_units(tmp_path / "base", tmp_path / "tuned") == ["head.bias", "head.weight"]
    assert torch.equal(load_model(tmp_path / "tuned", SMALL)(IMAGES), model(IMAGES))


def test_every_kind_of_difference_is_named(tmp_path):
    ours = {
        "bit": np.array([1.0], np.float32),
        "nan": np.array([0x7FC00001], np.uint32).view(np.float32),
        "same": np.array([0x7FC00001], np.uint32).view(np.float32),
        "shape": np.zeros((2, 3), np.float32),
        "type": np.zeros(2, np.float32),
        "zero": np.array([0.0], np.float32),
        "ours": np.zeros(1, np.float32),
    }
    theirs = {
        "bit": np.nextafter(np.float32(1), np.float32(2)).reshape(1),
        "nan": np.array([0x7FC00002], np.uint32).view(np.float32),
        "same": ours["same"],
        "shape": np.zeros((3, 2), np.float32),
        "type": np.zeros(2, np.int32),
        "zero": np.array([-0.0], np.float32),
        "theirs": np.zeros(1, np.float32),
    }
    save_file(ours, tmp_path / "ours")
    save_file(theirs, tmp_path / "theirs")
    expected = ["bit", "nan", "ours", "shape", "theirs", "type", "zero"]
    assert differing_units(tmp_path / "ours", tmp_path / "theirs") == expected
    assert differing_units(tmp_path / "ours", tmp_path / "ours") == []
