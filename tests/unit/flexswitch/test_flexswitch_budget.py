"""A budget is met by the bytes that are stored, or refused with the least that is possible."""

import re

import pytest
import small
import torch
from watching import Seen

import tvbank
from tvbank.errors import UsageError
from tvbank.storage import MemoryStorage


@pytest.fixture(scope="module")
def base():
    torch.manual_seed(0)
    layers = torch.nn.Linear(8, 400), torch.nn.Tanh(), torch.nn.Linear(400, 60)
    return torch.nn.Sequential(*layers, torch.nn.Tanh(), torch.nn.Linear(60, 4))


def add(base, budget, progress=None, **options):
    bank = tvbank.create(MemoryStorage(), base=base.state_dict())
    given = {"steps": 60, "batch": 16, "budget": budget} | options
    flex = tvbank.FlexSwitch(base, small.inputs(), **given)
    return bank.add("t", small.tuned(base), flex, progress=progress)


@pytest.mark.parametrize("budget", ["1.6 bits/param", "9000 bytes", "5 KiB", "4.5 %"])
def test_stored_bytes_are_those_of_the_budget(base, budget):
    task = add(base, budget)
    entries = sum(t.numel() for t in base.state_dict().values())
    goal = {
        "1.6 bits/param": 1.6 * entries / 8,
        "9000 bytes": 9000,
        "5 KiB": 5 * 1024,
        "4.5 %": 0.045 * 4 * entries,
    }[budget]
    assert 0.97 * goal <= task.stored_bytes <= goal
    assert task.compressor["budget"] == budget
    assert task.compressor["objective"] == "bytes"


@pytest.mark.parametrize("lam", [0.001, 0.5, 50.0])
def test_a_budget_is_learned_rather_than_cut_to_at_the_end(base, lam):
    seen = Seen()
    stored = add(base, "5 KiB", steps=100, lam=lam, progress=seen).stored_bytes
    assert 0.8 * stored < seen.details["learning"][-1].bytes < 1.25 * stored


def test_a_run_to_a_budget_goes_on_where_it_was_killed(base, tmp_path):
    def stop(step):
        if step.step == 30:
            raise KeyboardInterrupt

    options = {"steps": 40, "checkpoint": tmp_path / "run"}
    with pytest.raises(KeyboardInterrupt):
        add(base, "5 KiB", progress=Seen(stop), **options)
    resumed = add(base, "5 KiB", **options)
    assert resumed.revision == add(base, "5 KiB", steps=40).revision


@pytest.mark.parametrize("low_rank", [True, False])
def test_products_are_stored_where_outputs_are_nearer_with_them(base, low_rank):
    torch.manual_seed(1)
    tuned = {name: weight.clone() for name, weight in base.state_dict().items()}
    if low_rank:
        tuned["2.weight"] += 0.3 * torch.randn(60, 1) @ torch.randn(1, 400)
    else:
        tuned["2.weight"][:, ::40] += 0.5 * torch.randn(60, 10)
    bank = tvbank.create(MemoryStorage(), base=base.state_dict())
    options = {"steps": 10, "batch": 16, "budget": "2700 bytes", "products": True}
    task = bank.add("t", tuned, tvbank.FlexSwitch(base, small.inputs(), **options))
    assert list(task.products) == (["2.weight"] if low_rank else [])
    assert task.compressor["name"] == "flexswitch"
    assert task.compressor["products"] is True
    assert task.stored_bytes <= 2700


def test_products_are_for_a_budget(base):
    with pytest.raises(UsageError, match="products=True is for a budget"):
        add(base, None, products=True)


def test_a_budget_that_cannot_be_reached_says_how_small_it_may_be(base):
    with pytest.raises(UsageError, match=r"cannot be reached: .* take (\d+) bytes") as refused:
        add(base, "100 bytes")
    least = int(re.search(r"take (\d+) bytes", str(refused.value))[1])
    assert add(base, f"{least + 1} bytes").stored_bytes <= least + 1
    with pytest.raises(UsageError, match="a size is a number above 0"):
        add(base, "small")


def test_what_fits_a_budget_as_it_is_may_be_smaller(base):
    generous = add(base, "64 bits/param", steps=20)
    full = tvbank.create(MemoryStorage(), base=base.state_dict())
    assert generous.stored_bytes < full.add("x", small.tuned(base), tvbank.Exact()).stored_bytes
