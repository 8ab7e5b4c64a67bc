"""Buffers that leave their domain by arithmetic: kept whole, averaged, the same merged and live."""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import tvbank
from tvbank.errors import UnitMismatchError
from tvbank.storage import MemoryStorage


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 2)
        self.register_buffer("queue", torch.rand(4, 4))

    def forward(self, x):
        return self.head(self.norm(self.bn(self.conv(x)).mean((2, 3))))


def tuned(base, seed):
    module = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
        module.bn.running_var.copy_(0.001 + torch.rand(8, generator=generator))
        module.bn.running_mean.copy_(torch.randn(8, generator=generator))
        module.bn.num_batches_tracked += 10 * seed
        module.queue += torch.rand(4, 4, generator=generator)
    return module


BASE = Net().eval()
TUNES = {name: tuned(BASE, seed) for seed, name in enumerate("abc", 1)}
LOSSY = [
    tvbank.TSwitch(0.5),
    tvbank.TSwitch(0.9, knob="norm"),
    tvbank.Budget("5 KiB"),
]


def bank_with(compressor, modules=True):
    bank = tvbank.create(MemoryStorage(), BASE if modules else BASE.state_dict())
    for name, tune in TUNES.items():
        bank.add(name, tune if modules else tune.state_dict(), compressor)
    return bank


@pytest.mark.parametrize("compressor", LOSSY, ids=repr)
@pytest.mark.parametrize("modules", [True, False])
def test_lossy_compressors_keep_changed_buffers_whole(compressor, modules, tmp_path):
    bank = bank_with(compressor, modules)
    base = BASE.state_dict()
    out = load_file(tvbank.export(bank, "a", base=base, out=tmp_path / "out.safetensors"))
    for name in ["bn.running_var", "bn.running_mean", "bn.num_batches_tracked"]:
        assert torch.equal(out[name], TUNES["a"].state_dict()[name])
    assert ("queue" in bank["a"].extras) == modules
    assert "norm.weight" not in bank["a"].extras
    assert bank.verify() == []


def test_exact_tasks_are_stored_as_before():
    assert list(bank_with(tvbank.Exact())["a"].extras) == ["bn.num_batches_tracked"]


@pytest.mark.parametrize("compressor", [tvbank.Exact(), *LOSSY], ids=repr)
@pytest.mark.parametrize("method", [None, tvbank.Ties(), tvbank.Dare(0.9, seed=1)], ids=repr)
@pytest.mark.parametrize(
    "weights", [{"a": 1.0, "b": 1.0}, {"a": 5.0}, {"a": 0.3, "b": 0.2}, {"a": -2.0, "b": 1.5}]
)
def test_merged_buffers_are_a_mean(compressor, method, weights):
    bank = bank_with(compressor)
    more = {} if method is None else {"method": method}
    merged = tvbank.merge(bank, weights, base=BASE.state_dict(), **more)
    total = sum(weight for weight in weights.values() if weight > 0)
    for name in ["bn.running_var", "bn.running_mean"]:
        base = BASE.state_dict()[name].double()
        mean = max(0.0, 1 - total) * base
        for task, weight in weights.items():
            share = max(weight, 0) / max(1.0, total)
            mean = mean + share * TUNES[task].state_dict()[name].double()
        torch.testing.assert_close(merged[name].double(), mean, rtol=1e-6, atol=1e-7)
    counts = [TUNES[t].bn.num_batches_tracked for t, weight in weights.items() if weight > 0]
    assert merged["bn.num_batches_tracked"] == max(counts)
    assert (merged["bn.running_var"] > 0).all()
    assert (merged["queue"] >= 0).all() or compressor == tvbank.Exact()


def same(model, state):
    return all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("compressor", [tvbank.Exact(), *LOSSY], ids=repr)
def test_a_live_model_has_the_merged_buffers(compressor):
    bank, model = bank_with(compressor), copy.deepcopy(BASE)
    base = BASE.state_dict()
    switch = tvbank.attach(model, bank)
    for weights in [{"a": 0.7, "b": 0.3}, {"a": 1.0, "c": 1.0}, {"b": -1.0, "c": 0.4}, {"a": 1.0}]:
        switch.to("b")
        switch.to(weights)
        assert same(model, tvbank.merge(bank, weights, base=base))
        switch.to(weights, heads="b")
        assert same(model, tvbank.merge(bank, weights, base=base))
        with switch("c"):
            assert model.bn.num_batches_tracked == TUNES["c"].bn.num_batches_tracked
        assert same(model, tvbank.merge(bank, weights, base=base))
    switch.off()
    assert same(model, base)


def test_a_vector_that_is_never_negative_stays_so(tmp_path):
    rng = np.random.default_rng(1)
    base = {"w": rng.standard_normal((8, 8)), "spread": rng.random(16) * 0.1, "gain": np.ones(16)}
    base = {name: array.astype(np.float32) for name, array in base.items()}
    tunes = {
        name: base | {"spread": (rng.random(16) * 0.1).astype(np.float32), "gain": base["gain"] - s}
        for name, s in {"a": np.float32(0.01), "b": np.float32(0.02)}.items()
    }
    bank = tvbank.create(MemoryStorage(), base)
    for name, tune in tunes.items():
        bank.add(f"{name} lossy".replace(" ", "-"), tune)
        bank.add(name, tune, tvbank.Exact())
    assert list(bank["a-lossy"].extras) == ["spread"]
    model = nn.Module()
    for name, array in base.items():
        model.register_buffer(name, torch.from_numpy(array.copy()))
    switch = tvbank.attach(model, bank)
    for weights in [{"a": 3.0, "b": 3.0}, {"a-lossy": 3.0, "b": 3.0}, {"a": -9.0}]:
        merged = tvbank.merge(bank, weights, base=base)
        assert (merged["spread"] >= 0).all()
        switch.to(weights)
        assert same(model, merged)
    gain = tvbank.merge(bank, {"a": 3.0}, base=base)["gain"]
    np.testing.assert_allclose(gain, 0.97, rtol=1e-6)


def test_other_units_kept_whole_are_not_merged():
    base = {"w": np.ones((4, 4), np.float32), "v": np.ones(3, np.float32)}
    bank = tvbank.create(MemoryStorage(), base)
    bank.add("t", base | {"v": np.ones(5, np.float32)}, replace_mismatched=True)
    with pytest.raises(UnitMismatchError, match="keeps unit 'v' whole"):
        tvbank.merge(bank, {"t": 1.0}, base=base)
