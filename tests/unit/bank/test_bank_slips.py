"""Slips of users: a place, a name or a class where an object belongs, and what is neither."""

import copy
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tvbank
from tvbank.errors import RouterNotFoundError, TvbankError, UsageError

MODEL = torch.nn.Linear(4, 4)
TUNED = {name: tensor + 0.1 for name, tensor in MODEL.state_dict().items()}


def router():
    rng = np.random.default_rng(0)
    return tvbank.Router.fit({task: rng.standard_normal((20, 4)) for task in "tu"})


@pytest.fixture
def place(tmp_path):
    tvbank.create(tmp_path / "bank", MODEL).add("t", TUNED, tvbank.Exact(), base=MODEL)
    return tmp_path / "bank"


def test_a_place_stands_for_its_bank(place, tmp_path):
    for bank in (place, str(place), tvbank.open(place)):
        merged = tvbank.merge(bank, {"t": 1.0}, base=MODEL)
        out = tvbank.export(bank, "t", base=MODEL, out=tmp_path / "out.safetensors")
        assert torch.equal(load_file(out)["weight"], merged["weight"])


def test_a_place_can_be_attached(place):
    model = torch.nn.Linear(4, 4)
    model.load_state_dict(MODEL.state_dict())
    for bank in (place, str(place), tvbank.open(place)):
        switch = tvbank.attach(model, bank)
        switch.to("t")
        assert torch.equal(model.weight, TUNED["weight"])
        switch.close()
    bank = tvbank.open(place)
    bank.add("u", TUNED, tvbank.Exact(), base=MODEL)
    bank.add_router("r", router())
    with tvbank.AutoSwitch(model.eval(), str(place), "r") as auto:
        assert auto.tasks == ("t", "u")
        for call in (copy.copy, pickle.dumps):
            with pytest.raises(UsageError, match="belongs to its model"):
                call(auto)


def test_an_open_bank_stands_for_its_place(place, tmp_path):
    bank = tvbank.open(place)
    assert tvbank.copy(bank, tmp_path / "copied").tasks == ("t",)
    assert tvbank.pack(bank, tmp_path / "bank.zip").tasks == ("t",)
    assert list(tvbank.Bank(str(place))) == list(tvbank.open(bank)) == ["t"]
    assert tvbank.repair(bank).restored == ()


def test_routers_are_a_mapping(place):
    bank = tvbank.open(place)
    assert dict(bank.routers) == {}
    bank.add("u", TUNED, tvbank.Exact(), base=MODEL)
    bank.add_router("r", router())
    assert (list(bank.routers), len(bank.routers), "r" in bank.routers) == (["r"], 1, True)
    assert bank.routers["r"].tasks == ("t", "u")
    assert repr(bank.routers) == "<routers 'r'>"
    with pytest.raises(RouterNotFoundError, match="it has 'r'"):
        bank.routers["s"]
    assert bank.routers.get("s") is None


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("exact", "exact"),
        (tvbank.Exact, "exact"),
        ("tswitch", "tswitch"),
        ("budget", "budget"),
        (tvbank.Budget, "budget"),
        (None, "budget"),
    ],
)
def test_a_name_or_a_class_stands_for_its_compressor(place, given, name):
    task = tvbank.open(place).add("u", TUNED, given, base=MODEL)
    assert task.compressor["name"] == name


@pytest.mark.parametrize("method", ["ties", tvbank.Ties, tvbank.Ties()])
def test_a_name_or_a_class_stands_for_its_method(place, method):
    merged = tvbank.merge(place, {"t": 1.0}, base=MODEL, method=method)
    expected = tvbank.merge(place, {"t": 1.0}, base=MODEL, method=tvbank.Ties())
    assert torch.equal(merged["weight"], expected["weight"])


SLIPS = {
    "compressor": lambda bank: bank.add("u", TUNED, "exakt", base=MODEL),
    "compressor without its options": lambda bank: bank.add("u", TUNED, "flexswitch", base=MODEL),
    "class without its options": lambda bank: bank.add("u", TUNED, tvbank.FlexSwitch, base=MODEL),
    "number as compressor": lambda bank: bank.add("u", TUNED, 0.9, base=MODEL),
    "class of another kind": lambda bank: bank.add("u", TUNED, tvbank.Ties, base=MODEL),
    "method": lambda bank: tvbank.merge(bank, {"t": 1.0}, base=MODEL, method="tie"),
    "compressor as method": lambda bank: tvbank.merge(
        bank, {"t": 1.0}, base=MODEL, method=tvbank.Exact()
    ),
    "list of weights": lambda bank: tvbank.merge(bank, ["t"], base=MODEL),
    "task for weights": lambda bank: tvbank.merge(bank, "t", base=MODEL),
    "weight in words": lambda bank: tvbank.merge(bank, {"t": "much"}, base=MODEL),
    "no weight": lambda bank: tvbank.merge(bank, {"t": None}, base=MODEL),
    "number as task": lambda bank: tvbank.merge(bank, {3: 1.0}, base=MODEL),
    "number as bank": lambda bank: tvbank.merge(3, {"t": 1.0}, base=MODEL),
    "module as bank": lambda bank: tvbank.attach(bank, MODEL),
    "no bank": lambda bank: tvbank.attach(MODEL, None),
    "path as model": lambda bank: tvbank.attach("model.safetensors", bank),
    "list as checkpoint": lambda bank: bank.add("u", [TUNED], base=MODEL),
    "bank as base": lambda bank: bank.add("u", TUNED, base=3),
    "list as tasks": lambda bank: tvbank.attach(MODEL, bank).to(["t"]),
    "arrays": lambda bank: tvbank.attach(MODEL, bank).to(np.ones(2)),
}


@pytest.mark.parametrize("slip", SLIPS.values(), ids=SLIPS)
def test_a_slip_is_one_clear_error(place, slip):
    with pytest.raises(TvbankError) as caught:
        slip(tvbank.open(place))
    assert isinstance(caught.value, UsageError)
