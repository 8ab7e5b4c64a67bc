"""Finding the base in a model: under its own names, or below one prefix."""

import live
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import BaseMismatchError, UsageError


class Wrapped(nn.Module):
    """A model that holds encoders under some names, and a head."""

    def __init__(self, *names):
        super().__init__()
        for name in names:
            self.add_module(name, encoder())
        self.head = nn.Linear(5, 3)


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))


@pytest.fixture
def bank():
    state = live.state_of(encoder())
    tuned = live.fine_tune(state)
    return live.bank_of(state, {"a": tuned | {"head.weight": torch.ones(3, 5)}})


def test_the_only_prefix_is_found(bank):
    model = Wrapped("bert")
    before = live.bits(model)
    switch = tvbank.attach(model, bank)
    switch.to("a")
    changed = {name for name, now in live.bits(model).items() if not now.equal(before[name])}
    assert changed == {f"bert.{n}" for n in encoder().state_dict()} | {"head.weight"}
    switch.off()
    live.assert_same(model, before)


def test_a_deep_prefix_is_found(bank):
    outer = nn.Module()
    outer.add_module("module", Wrapped("bert"))
    tvbank.attach(outer, bank).to("a")
    assert not torch.equal(outer.module.bert[0].weight, encoder()[0].weight)


def test_several_prefixes_need_a_choice(bank):
    model = Wrapped("query", "key")
    with pytest.raises(UsageError, match=r"2 times, below 'key\.', 'query\.'"):
        tvbank.attach(model, bank)
    before = live.bits(model)
    for prefix in ("key", "key."):
        switch = tvbank.attach(model, bank, prefix=prefix)
        switch.to("a")
        assert torch.equal(model.query[0].weight, encoder()[0].weight)
        assert not torch.equal(model.key[0].weight, encoder()[0].weight)
        switch.close()
        live.assert_same(model, before)


def test_the_names_of_the_base_win_over_a_prefix(bank):
    model = encoder()
    model.add_module("copy", encoder())
    tvbank.attach(model, bank).to("a")
    assert torch.equal(model.copy[0].weight, encoder()[0].weight)


@pytest.mark.parametrize("prefix", [None, "bert", "nothing"])
def test_missing_units_are_named(bank, prefix):
    model = Wrapped("bert")
    del model.bert[2].bias
    with pytest.raises(BaseMismatchError, match=r"lacks .*2\.bias|lacks '0\.weight'") as caught:
        tvbank.attach(model, bank, prefix=prefix)
    assert "2.bias" in caught.value.units


def test_a_head_below_the_prefix_comes_before_one_beside_it(bank):
    model = Wrapped("bert")
    model.bert.add_module("head", nn.Linear(5, 3))
    before = model.head.weight.detach().clone()
    tvbank.attach(model, bank).to("a")
    assert torch.equal(model.bert.head.weight, torch.ones(3, 5))
    assert torch.equal(model.head.weight, before)


def test_another_element_type_is_named(bank):
    model = encoder().half()
    with pytest.raises(BaseMismatchError, match=r"float16.* here, float32.* in the base") as caught:
        tvbank.attach(model, bank)
    assert len(caught.value.units) == 4


def test_another_shape_is_named(bank):
    model = encoder()
    model[2] = nn.Linear(8, 6)
    with pytest.raises(BaseMismatchError, match=r"2\.weight") as caught:
        tvbank.attach(model, bank)
    assert caught.value.units == ("2.weight", "2.bias")


def test_other_weights_are_named_all(bank):
    model = encoder()
    with torch.no_grad():
        model[0].bias[3] = 7
        model[2].weight[1, 1] += 1
    with pytest.raises(BaseMismatchError, match="other weights") as caught:
        tvbank.attach(model, bank)
    assert caught.value.units == ("0.bias", "2.weight")


def test_a_budget_below_zero_is_refused(bank):
    with pytest.raises(UsageError, match="resident_bytes"):
        tvbank.attach(encoder(), bank, resident_bytes=-1)


def test_a_base_without_deltas():
    state = {"steps": torch.arange(3)}
    bank = tvbank.create(live.MemoryStorage(), base=state)
    bank.add("a", {"steps": torch.arange(3) + 1}, tvbank.Exact(), base=state)
    model = nn.Module()
    model.register_buffer("steps", torch.arange(3))
    switch = tvbank.attach(model, bank)
    switch.to("a")
    assert model.steps.tolist() == [1, 2, 3]
    switch.off()
    assert model.steps.tolist() == [0, 1, 2]
