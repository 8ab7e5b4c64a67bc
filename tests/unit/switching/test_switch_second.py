"""One switch a model: a second one on the same memory is refused, with what to do about it."""

import copy
import gc
import pickle

import live
import pytest
import routed
import torch
from torch import nn

import tvbank
from tvbank.errors import UsageError


def setting():
    torch.manual_seed(0)
    model = live.perceptron()
    state = live.state_of(model)
    return model, state, live.bank_of(state, {"a": live.fine_tune(state)})


def wrapped(model):
    return nn.ModuleDict({"bert": model})


def tied(model):
    other = live.perceptron()
    other.load_state_dict(model.state_dict())
    other[0].weight = model[0].weight
    return other


def viewing(model):
    other = copy.deepcopy(model)
    other[2].weight.data = model[2].weight.data
    return other


SAME = [lambda model: model, wrapped, tied, viewing, lambda model: nn.Sequential(*model)]


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("other", SAME)
def test_a_second_one_is_refused_until_the_first_is_closed(other, active):
    model, state, bank = setting()
    first = tvbank.attach(model, bank)
    second = other(model)
    if active:
        first.to("a")
    else:
        with pytest.raises(UsageError, match=r"attached to this model already.*switch\.close\(\)"):
            tvbank.attach(second, bank)
    first.close()
    first.close()
    live.assert_same(model, state)
    for call in (first.off, lambda: first.to("a"), lambda: first.prefetch("a")):
        with pytest.raises(UsageError, match="closed"):
            call()
    tvbank.attach(second, bank).to("a")


def test_a_part_that_has_a_switch():
    model, _, bank = setting()
    outer = wrapped(model)
    first = tvbank.attach(outer, bank)
    with pytest.raises(UsageError, match="already"):
        tvbank.attach(outer["bert"], bank)
    first.close()
    tvbank.attach(outer["bert"], bank)


def test_one_that_nobody_holds_counts_no_more():
    model, _, bank = setting()
    switch = tvbank.attach(model, bank)
    cycle = [switch]
    cycle.append(cycle)
    gc.disable()
    try:
        del switch, cycle
        tvbank.attach(model, bank).to("a")
    finally:
        gc.enable()


def test_a_copy_is_another_model():
    model, state, bank = setting()
    first = tvbank.attach(model, bank)
    twin = copy.deepcopy(model)
    second = tvbank.attach(twin, bank)
    first.to("a")
    live.assert_same(twin, state)
    second.to("a-exact")
    first.off()
    second.off()
    for each in (model, twin):
        live.assert_same(each, state)


def test_a_switch_cannot_be_copied():
    model, _, bank = setting()
    switch = tvbank.attach(model, bank)
    for call in (copy.deepcopy, copy.copy, pickle.dumps):
        with pytest.raises(UsageError, match="belongs to its model"):
            call(switch)


def test_beside_one_that_switches_by_itself():
    model, _, _, bank = routed.setting()
    router = routed.router_for(model)
    with tvbank.AutoSwitch(model, bank, router):
        with pytest.raises(UsageError, match=r"auto\.close\(\)"):
            tvbank.attach(model, bank)
        with pytest.raises(UsageError, match=r"auto\.close\(\)"):
            tvbank.AutoSwitch(model, bank, router)
    switch = tvbank.attach(model, bank)
    with pytest.raises(UsageError, match="already"):
        tvbank.AutoSwitch(model, bank, router)
    switch.close()
    with tvbank.AutoSwitch(model, bank, router, twin=True) as auto:
        auto(routed.mixed({"cats": 2})[0])
