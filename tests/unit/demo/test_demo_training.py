"""A few steps of training lower the loss; the same seed gives the same bits."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from tvbank.demo.finetune import fine_tune
from tvbank.demo.images import load_images, split
from tvbank.demo.model import Classifier, VisionTransformer, accuracy, features
from tvbank.demo.optimise import optimise
from tvbank.demo.pretrain import pretrain
from tvbank.demo.probe import fit_probe
from tvbank.demo.reproducible import reproducible
from tvbank.demo.settings import Settings
from tvbank.demo.tasks import TASKS

SMALL = Settings(
    width=16, depth=1, heads=2, pretrain_steps=12, tune_steps=20, batch=32, tune_rate=5e-3
)
TRAIN, _ = split(split(load_images())[1])


def small_base(seed=0, step=lambda: None):
    with reproducible(seed):
        return pretrain(TRAIN.pixels, SMALL, torch.Generator().manual_seed(seed), step)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_optimise_lowers_a_loss_and_counts_its_steps():
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    losses, steps = [], []

    def loss():
        losses.append(float(weight.detach()) ** 2)
        return weight.square().sum()

    optimise([weight], loss, 40, 0.1, lambda: steps.append(1))
    assert len(losses) == len(steps) == 40
    assert losses[-1] < losses[0] / 2


def test_pretraining_is_reproducible_and_depends_on_the_seed():
    steps = []
    first = weights(small_base(0, lambda: steps.append(1)))
    assert len(steps) == SMALL.pretrain_steps
    assert torch.equal(weights(small_base(0)), first)
    assert not torch.equal(weights(small_base(1)), first)


def test_pretraining_does_not_spoil_the_features():
    base = small_base()
    with reproducible(0):
        head = fit_probe(features(base, TRAIN.pixels), TRAIN.digits, 10)
    assert accuracy(Classifier(base, head), TRAIN.pixels, TRAIN.digits) > 0.5


def test_the_probe_is_the_best_head_that_gradient_finds():
    chance = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 5, generator=chance) * torch.tensor([1.0, 10, 0.1, 1, 1]) + 3
    labels = (inputs[:, 1] > 3).long()
    head = fit_probe(inputs, labels, 2)
    assert float((head(inputs).argmax(1) == labels).double().mean()) > 0.97


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_fine_tuning_lowers_the_loss_and_leaves_the_start_alone(task):
    base = small_base()
    chance = torch.Generator().manual_seed(0)
    pictures, labels = task.draw(TRAIN, chance)
    with reproducible(0):
        start = Classifier(base, nn.Linear(base.width, task.classes))
        before = weights(start)
        tuned = fine_tune(start, task, TRAIN, SMALL, chance, lambda: None)

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


def test_an_encoder_of_any_size_can_be_built():
    assert VisionTransformer(width=12, depth=3, heads=4).width == 12
