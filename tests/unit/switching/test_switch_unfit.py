"""Models that cannot be switched: one clear error each, which says why and what to do."""

import warnings

import live
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.testing._internal.two_tensor import TwoTensor

import tvbank
from tvbank.errors import BaseMismatchError, CheckpointError, UsageError


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8)).eval()


@pytest.fixture(scope="module")
def bank():
    state = live.state_of(make())
    return live.bank_of(state, {"a": live.fine_tune(state)})


def with_weight(change):
    def changed(model):
        weight = change(model[0].weight.detach())
        del model[0].weight
        model[0].register_buffer("weight", weight)
        return model

    return changed


def scripted(model, freeze=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(model)
        return torch.jit.freeze(script) if freeze else script


def traced(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(model, torch.randn(1, 8))


def normalised(model):
    parametrizations.weight_norm(model[0])
    return model


def pruned(model):
    prune.random_unstructured(model[0], "weight", 0.5)
    return model


def freed(model):
    model[0].weight.untyped_storage().resize_(0)
    return model


def partitioned(model):
    model[0].weight.data = torch.empty(0)
    model[0].weight.ds_id = 3
    return model


def of_two(model):
    model[0].weight = nn.Parameter(TwoTensor(*[model[0].weight.detach()] * 2))
    return model


UNFIT = {
    "traced": (traced, BaseMismatchError, "traced, scripted or frozen: attach to the module"),
    "scripted": (scripted, BaseMismatchError, "traced, scripted or frozen"),
    "frozen": (lambda m: scripted(m, freeze=True), BaseMismatchError, "traced, scripted or frozen"),
    "part": (lambda m: nn.Sequential(scripted(m[0]), m[1]), BaseMismatchError, "traced, scripted"),
    "normalised": (normalised, BaseMismatchError, "remove_parametrizations"),
    "pruned": (pruned, BaseMismatchError, "call the remove function"),
    "meta": (lambda m: m.to("meta"), CheckpointError, "'0.weight' is on the meta device .*hook"),
    "lazy": (
        lambda m: nn.Sequential(nn.LazyLinear(8), m[1]), CheckpointError, "run one batch through",
    ),
    "sparse": (with_weight(torch.Tensor.to_sparse), CheckpointError, r"sparse_coo.*\.to_dense\(\)"),
    "freed": (freed, CheckpointError, "its storage was freed"),
    "partitioned": (partitioned, CheckpointError, "ZeRO-3: gather"),
    "a subclass": (of_two, CheckpointError, "is a TwoTensor, which keeps its values elsewhere"),
    "half": (lambda m: m.half(), BaseMismatchError, "attach to a model in the base's own"),
    "a path": (lambda m: "model.pt", UsageError, "a torch.nn.Module, not to str"),
    "a state dict": (lambda m: m.state_dict(), UsageError, "not to OrderedDict"),
    "a class": (lambda m: nn.Linear, UsageError, "not to type"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", UNFIT)
def test_what_cannot_be_switched(bank, kind):
    change, error, message = UNFIT[kind]
    model = change(make())
    with pytest.raises(error, match=message):
        tvbank.attach(model, bank)


def test_parts_that_are_not_the_bases_may_be_anything(bank):
    model = make()
    model.add_module("script", scripted(nn.Linear(3, 3)))
    model.add_module("meta", nn.Linear(3, 3, device="meta"))
    model.add_module("lazy", nn.LazyLinear(3))
    switch = tvbank.attach(model, bank)
    switch.to("a")
    switch.off()


FIT = {
    "compiled": lambda m: torch.compile(m, backend="eager"),
    "parallel": nn.DataParallel,
    "symbolic": torch.fx.symbolic_trace,
    "shared": lambda m: m.share_memory(),
}


@pytest.mark.parametrize("kind", FIT)
def test_what_can_be_switched(bank, kind):
    model = make()
    switch = tvbank.attach(FIT[kind](model), bank)
    before = live.bits(model)
    switch.to("a-exact")
    assert not torch.equal(model[0].weight.view(torch.int32), before["0.weight"])
    switch.off()
    live.assert_same(model, before)


def test_arguments_of_another_kind(bank):
    for other in (3, None, {}):
        with pytest.raises(UsageError, match="is no place of a bank"):
            tvbank.attach(make(), other)
        with pytest.raises(UsageError, match="is no place of a bank"):
            tvbank.AutoSwitch(make(), other, "router")
    with pytest.raises(UsageError, match=r"torch\.nn\.Module"):
        tvbank.AutoSwitch("model", bank, "router")
    with pytest.raises(UsageError, match="prefix must be text"):
        tvbank.attach(make(), bank, prefix=3)
    for size in ("x", float("nan"), -1):
        with pytest.raises(UsageError, match="resident_bytes must be at least 0"):
            tvbank.attach(make(), bank, resident_bytes=size)
