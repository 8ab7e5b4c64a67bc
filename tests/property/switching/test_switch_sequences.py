"""Whatever a switch is asked for, the model is what the bank says, and off() restores every bit."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

import tvbank
from tvbank.errors import (
    BaseMismatchError,
    CorruptionError,
    NonFiniteError,
    TaskNotFoundError,
    UsageError,
)
from tvbank.storage import MemoryStorage

TASKS = ("sparse", "exact", "dense")
INTEGERS = {4: torch.int32, 2: torch.int16, 8: torch.int64}


class Model(nn.Module):
    """Tied weights, a buffer, 0-d and empty parameters, and a head of its own."""

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(30, 16)
        self.middle = nn.Linear(16, 16)
        self.unembed = nn.Linear(16, 30, bias=False)
        self.unembed.weight = self.embed.weight
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.nothing = nn.Parameter(torch.zeros(0, 3))
        self.register_buffer("steps", torch.arange(4))
        self.to(dtype)
        self.head = nn.Linear(16, 2)


def bits(model_or_state):
    state = model_or_state if isinstance(model_or_state, dict) else model_or_state.state_dict()
    return {
        name: tensor.clone().view(INTEGERS[tensor.element_size()]) for name, tensor in state.items()
    }


def same(found, expected):
    return all(torch.equal(found[name], expected[name]) for name in expected)


def build(dtype, storage=None):
    model = Model(dtype)
    base = {n: t.clone() for n, t in model.state_dict().items() if not n.startswith("head")}
    base["unembed.weight"] = base["embed.weight"]
    bank = tvbank.create(storage or MemoryStorage(), base=base, chunk_length=64)
    compressors = (tvbank.TSwitch(drop=0.8), tvbank.Exact(), tvbank.TSwitch(drop=0.0))
    for name, compressor in zip(TASKS, compressors, strict=True):
        tuned = {
            unit: t + (0.01 * torch.randn(t.shape)).to(t.dtype) if t.is_floating_point() else t
            for unit, t in base.items()
        }
        tuned["unembed.weight"] = tuned["embed.weight"]
        tuned["head.weight"] = torch.randn(5, 16)
        tuned["head.bias"] = torch.randn(5)
        bank.add(name, tuned, compressor)
    return model, bank, base


WEIGHTS = st.dictionaries(
    st.sampled_from(TASKS), st.sampled_from([1.0, 0.3, -0.7]), min_size=1, max_size=3
)
STEPS = st.lists(st.none() | st.sampled_from(TASKS) | WEIGHTS, max_size=12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@settings(max_examples=25)
@given(steps=STEPS, budget=st.sampled_from([0, 3000, 2**20]))
def test_any_sequence(dtype, tmp_path_factory, steps, budget):
    model, bank, base = build(dtype)
    untouched = bits(model)
    switch = tvbank.attach(model, bank, resident_bytes=budget)
    out = tmp_path_factory.mktemp("out") / "task.safetensors"
    for step in steps:
        if step is None:
            switch.off()
            assert same(bits(model), untouched)
        elif isinstance(step, str):
            switch.to(step)
            tvbank.export(bank, step, base=base, out=out)
            assert same(bits(model), bits(load_file(out)))
        else:
            switch.to(step)
            assert same(bits(model), bits(tvbank.merge(bank, step, base=base)))
        assert switch.active == step
        assert sum(switch.resident.values()) <= budget
        assert model.unembed.weight is model.embed.weight
    switch.off()
    assert same(bits(model), untouched)
    assert model.head.weight.shape == (2, 16)


def test_a_block_goes_back_to_what_was_before():
    model, bank, _ = build(torch.float32)
    switch = tvbank.attach(model, bank)
    switch.to("sparse")
    before = bits(model)
    with pytest.raises(ZeroDivisionError), switch("exact"):
        _ = 1 / (model.head.out_features - 5)
    assert switch.active == "sparse"
    assert same(bits(model), before)


def test_a_model_that_is_not_the_base_is_refused():
    model, bank, _ = build(torch.float32)
    with torch.no_grad():
        model.middle.bias[3] += 1
    with pytest.raises(BaseMismatchError, match=r"middle\.bias"):
        tvbank.attach(model, bank)


def test_an_unknown_task_changes_nothing():
    model, bank, _ = build(torch.float32)
    switch = tvbank.attach(model, bank)
    switch.to("exact")
    before = bits(model)
    with pytest.raises(TaskNotFoundError):
        switch.to("nobody")
    assert same(bits(model), before)


def test_weights_that_others_changed_are_noticed():
    model, bank, _ = build(torch.float32)
    switch = tvbank.attach(model, bank)
    switch.to("exact")
    with torch.no_grad():
        model.middle.weight.mul_(2)
    with pytest.raises(UsageError):
        switch.off()
    with pytest.raises(UsageError):
        switch.to("sparse")


def test_a_sum_that_overflows_leaves_the_base():
    model, bank, _ = build(torch.float16)
    untouched = bits(model)
    switch = tvbank.attach(model, bank)
    with pytest.raises(NonFiniteError):
        switch.to({"dense": 1e30, "sparse": 1.0})
    assert same(bits(model), untouched)


def test_damage_leaves_the_base_or_the_task_before():
    storage = MemoryStorage()
    model, bank, _ = build(torch.float32, storage)
    switch = tvbank.attach(model, bank)
    untouched = bits(model)
    switch.to("exact")
    before = bits(model)
    key = next(o.key for o in storage.list("tasks/sparse/") if "/delta/c/" in o.key)
    data = bytearray(storage.get(key))
    data[40] ^= 1
    storage.put(key, bytes(data))
    with pytest.raises(CorruptionError, match="sparse"):
        switch.to("sparse")
    assert same(bits(model), {None: untouched, "exact": before}[switch.active])
    switch.off()
    assert same(bits(model), untouched)
