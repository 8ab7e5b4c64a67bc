"""The smallest size that a tolerance allows: found, recorded, and refused where there is none."""

import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tvbank
from tvbank.compress.budget.tolerance import Tolerance
from tvbank.errors import CheckpointError, UsageError
from tvbank.storage import MemoryStorage


def weights(seed, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(80, 60, generator=generator) for name in ("a", "b", "c")}


BASE, STEP = weights(0), weights(1, 0.01)
TUNED = {name: weight + STEP[name] ** 3 * 1e4 for name, weight in BASE.items()}


DRAWS = np.random.default_rng(1)


def distance(path):
    """Share of the task vector's norm that is missing."""
    state = load_file(path)
    wrong = sum(float(((state[name] - TUNED[name]) ** 2).sum()) for name in BASE)
    return wrong / sum(float(((BASE[name] - TUNED[name]) ** 2).sum()) for name in BASE)


def add(**options):
    bank = tvbank.create(MemoryStorage(), base=BASE, chunk_length=2**14)
    return bank.add("t", TUNED, tvbank.Budget(**options), base=BASE)


def test_the_smallest_size_within_a_tolerance():
    calls = []

    def score(path):
        calls.append(path)
        return 1 - distance(path)

    task = add(tolerance="20 points", evaluate=score)
    assert len(calls) <= 9
    [remark] = task.remarks
    assert remark.startswith("within 20 points of the fine-tune's 1, of sizes tried: ")
    curve = {
        int(size.replace(",", "")): float(value)
        for size, value in re.findall(r"([0-9,]+) bytes ([0-9.e-]+)", remark)
    }
    within = [size for size, value in curve.items() if value >= 0.8]
    assert task.stored_bytes == min(within)
    beyond = max(size for size, value in curve.items() if value < 0.8)
    assert beyond > 0.8 * min(within)
    again = add(budget=task.compressor["budget"])
    assert again.to_dense()["a"].tobytes() == task.to_dense()["a"].tobytes()


def test_a_loss_is_better_if_it_is_less():
    losses, scores = (
        add(tolerance=tolerance, evaluate=evaluate)
        for tolerance, evaluate in (
            ("0.2 nats", lambda path: 3 + distance(path)),
            ("0.2", lambda path: -distance(path)),
        )
    )
    assert losses.compressor["budget"] == scores.compressor["budget"]


@pytest.mark.parametrize("sparse", [False, True])
def test_entries_or_products_are_taken_whichever_do_with_fewer_bytes(sparse):
    change = {
        name: each * (each > 2.3) if sparse else each[:, :2] @ each[:2]
        for name, each in weights(3).items()
    }
    tuned = {name: BASE[name] + each for name, each in change.items()}

    def score(path):
        state = load_file(path)
        made = torch.cat([(state[name] - BASE[name]).flatten() for name in BASE])
        return float(torch.cosine_similarity(made, torch.cat([*change.values()]).flatten(), 0))

    bank = tvbank.create(MemoryStorage(), base=BASE, chunk_length=2**14)
    budget = tvbank.Budget(tolerance="5 points", evaluate=score, products=True)
    task = bank.add("t", tuned, budget, base=BASE)
    assert len(task.products) == (0 if sparse else 3)
    if not sparse:
        assert task.compressor["products"]


def test_flexswitch_takes_one_too():
    model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 3))
    bank = tvbank.create(MemoryStorage(), base=model, chunk_length=2**10)
    generator = torch.Generator().manual_seed(2)
    tuned = {
        name: weight + 0.2 * torch.randn(weight.shape, generator=generator)
        for name, weight in model.state_dict().items()
    }

    def score(path):
        state = load_file(path)
        return -float(sum((state[name] - tuned[name]).square().sum() for name in tuned)) / 40

    flex = tvbank.FlexSwitch(
        model, torch.randn(16, 8, generator=generator), steps=2, batch=8,
        tolerance="90 points", evaluate=score,
    )  # fmt: skip
    with pytest.raises(UsageError, match="no size up to 25 % of the base"):
        bank.add("t", tuned, flex, base=model)
    assert list(bank) == []


@pytest.mark.parametrize(
    ("error", "says", "options"),
    [
        (UsageError, "allow more, or store it with Exact",
         {"tolerance": "1e-9", "evaluate": lambda path: -distance(path)}),
        (CheckpointError, "which is no score",
         {"tolerance": "1 point", "evaluate": lambda path: float("nan")}),
        (CheckpointError, "evaluation failed .*ZeroDivisionError",
         {"tolerance": "1 point", "evaluate": lambda path: 1 / 0}),
        (UsageError, "the evaluation is noisy",
         {"tolerance": "1 point",
          "evaluate": lambda path: DRAWS.random()}),
        (UsageError, "a tolerance is a number above 0", {"tolerance": "-1 point"}),
        (UsageError, "a tolerance is a number above 0", {"tolerance": "1 percent"}),
        (UsageError, "needs evaluate=", {"tolerance": "1 point"}),
        (UsageError, "not both", {"tolerance": "1 point", "budget": "1 %"}),
        (UsageError, "evaluate= is for a tolerance", {"evaluate": distance}),
    ],
)  # fmt: skip
def test_what_is_refused(error, says, options):
    with pytest.raises(error, match=says):
        add(**options)


def test_tolerances_as_people_write_them():
    assert Tolerance.parse("1 point") == Tolerance(0.01, False)
    assert Tolerance.parse(" 1.5points") == Tolerance(0.015, False)
    assert Tolerance.parse("0.02 nats") == Tolerance(0.02, True)
    assert Tolerance.parse("0.5") == Tolerance(0.5, False)
