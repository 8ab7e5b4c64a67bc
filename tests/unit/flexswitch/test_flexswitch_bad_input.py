"""What FlexSwitch refuses, and how it says so."""

import copy

import banks
import pytest
import small
import torch
from torch import nn

import tvbank
from tvbank.errors import BaseMismatchError, NonFiniteError, UsageError


@pytest.fixture(scope="module")
def base():
    return small.model()


def add(base, model=None, tuned=None, **options):
    """Add to a bank of ``base``, and see that a refusal changes nothing."""
    bank = small.bank(base)
    before = banks.contents(bank.storage)
    given = {"inputs": small.inputs(), "steps": 3, "batch": 16} | options
    try:
        bank.add("t", tuned or small.tuned(base),
                 tvbank.FlexSwitch(base if model is None else model, **given))  # fmt: skip
    finally:
        assert banks.contents(bank.storage) == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"loss": "l1"}, "loss must be one of kl, mse, cka"),
        ({"lam": 0.0}, "lam must be a number above 0"),
        ({"lam": float("nan")}, "lam must be"),
        ({"steps": 0}, "steps must be an integer of at least 1"),
        ({"batch": 2.5}, "batch must be"),
        ({"seed": -1}, "seed must be"),
        ({"objective": "size"}, "objective must be"),
        ({"batch": 41}, "40 examples are fewer than a batch of 41"),
        ({"loss": "cka", "batch": 1}, "batch must be 2"),
        ({"inputs": [1, 2]}, "inputs must be a tensor"),
        ({"inputs": {}}, "inputs must be a tensor"),
        ({"inputs": {"a": torch.zeros(20, 8), "b": torch.zeros(21)}}, "'a': 20, 'b': 21"),
        ({"inputs": torch.full((40, 8), float("nan"))}, "NaN or infinite logits"),
        ({"forward": lambda m, x: m(x)[:, :1]}, "has one: use loss='mse'"),
        ({"forward": lambda m, x: m(x)[:, :1], "loss": "cka"}, "has one: use loss='mse'"),
        ({"forward": lambda m, x: m(x) * 0 + 1, "loss": "cka"}, "the same for all"),
        ({"forward": lambda m, x: "text"}, "must return logits"),
        ({"forward": lambda m, x: torch.zeros(len(x), 2)}, "do not depend on the base's units"),
        ({"forward": lambda m, x: m(x)[:3]}, "rows of logits"),
    ],
)
def test_bad_arguments(base, options, says):
    with pytest.raises(UsageError, match=says):
        add(base, **options)


def test_a_model_that_is_not_the_base(base):
    with pytest.raises(UsageError, match="must be a torch module"):
        add(base, model=base.state_dict())
    with pytest.raises(BaseMismatchError, match=r"lacks 'unused', '0\.weight'"):
        add(base, model=nn.Linear(3, 3))
    wide = copy.deepcopy(base)
    wide[0] = nn.Linear(9, 24)
    with pytest.raises(BaseMismatchError, match=r"'0\.weight' of another shape"):
        add(base, model=wide)
    with pytest.raises(BaseMismatchError, match=r"other weights .*'0\.weight'"):
        add(base, model=small.model(seed=3))


@pytest.mark.parametrize("objective", ["paper", "bytes"])
def test_inputs_that_the_model_does_not_take(base, objective):
    named = {"pixels": small.inputs()}
    with pytest.raises(UsageError, match=r"cannot be called with inputs named 'pixels': .*pixels"):
        add(base, inputs=named, objective=objective)


def test_a_model_that_cannot_be_copied(base):
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = base
            self.generator = (x for x in ())

    with pytest.raises(UsageError, match="cannot be copied"):
        add(base, model=Locked())


def test_nan_and_immense_weights(base):
    for value, says in ((float("nan"), "NaN or infinite"), (1e35, "more than FlexSwitch")):
        tuned = small.tuned(base)
        tuned["2.weight"][3, 3] = value
        with pytest.raises(NonFiniteError, match=f"'2.weight' has .*{says}"):
            add(base, tuned=tuned)


def test_infinity_is_let_be_where_nothing_changed(base):
    model = copy.deepcopy(base)
    with torch.no_grad():
        model.unused[7] = -torch.inf
    tuned = small.tuned(base)
    tuned["unused"] = model.unused.detach().clone()
    add_to = small.bank(model)
    add_to.add("t", tuned, tvbank.FlexSwitch(model, small.inputs(), steps=3, batch=16))
    assert not add_to["t"]["unused"].to_dense().any()
    tuned["unused"][3] = 1.0
    with pytest.raises(NonFiniteError, match=r"'unused' has .* beside others"):
        add(model, tuned=tuned)


def test_nan_and_infinity_by_bytes(base):
    tuned = small.tuned(base)
    tuned["2.weight"][3, 3] = float("nan")
    with pytest.raises(NonFiniteError, match=r"'2.weight' has entries that are NaN"):
        add(base, tuned=tuned, objective="bytes")
    model = copy.deepcopy(base)
    with torch.no_grad():
        model.unused[7] = -torch.inf
    tuned = small.tuned(base)
    tuned["unused"][7] = -torch.inf
    bank = small.bank(model)
    flex = tvbank.FlexSwitch(model, small.inputs(), steps=3, batch=16, objective="bytes")
    kept = bank.add("t", tuned, flex)["unused"].to_dense()
    assert kept.any()
    assert kept[7] == 0


@pytest.mark.parametrize("objective", ["paper", "bytes"])
def test_nan_on_the_way(base, objective):
    calls = []

    def forward(model, batch):
        calls.append(None)
        return model(batch) * (float("nan") if len(calls) > 4 else 1)

    with pytest.raises(UsageError, match="the loss is nan at step 2"):
        add(base, forward=forward, objective=objective)


def test_one_unit_alone(base):
    flex = tvbank.FlexSwitch(base, small.inputs())
    with pytest.raises(UsageError, match=r"bank\.add"):
        flex.compress("unit", small.inputs().numpy(), small.inputs().numpy())
