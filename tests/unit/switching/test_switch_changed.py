"""A model that others change between calls: noticed before anything is written."""

import live
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import BaseMismatchError, UsageError


def replaced_parameter(model):
    model[0].weight = nn.Parameter(torch.zeros_like(model[0].weight))


def deleted_parameter(model):
    del model[0].weight


def replaced_data(model):
    model[0].weight.data = torch.zeros_like(model[0].weight)


def cast_and_back(model):
    model.half().float()


def cast(model):
    model.half()


def resized(model):
    model[0].weight.data = torch.zeros(3, 24)


def reshaped(model):
    model[0].weight.data = model[0].weight.data.view(-1)


def other_module(model):
    model[0] = nn.Linear(24, 24)


CHANGES = [
    replaced_parameter, deleted_parameter, replaced_data, cast_and_back, cast, resized, reshaped,
    other_module,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("active", [False, True])
def test_what_was_moved_is_named_and_nothing_is_written(attached, change, active):
    model, _, switch = attached
    if active:
        switch.to("a")
    change(model)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for call in (lambda: switch.to("b"), lambda: switch.to({"a": 1, "b": 1}), lambda: switch.off(),
                 lambda: switch.off(force=True)):  # fmt: skip
        with pytest.raises(UsageError, match=r"'0\.weight'.* was replaced, resized, or moved"):
            call()
    with pytest.raises(UsageError), switch("b"):
        pass
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert switch.active == ("a" if active else None)


def optimise(model):
    model[2].weight.grad = torch.ones_like(model[2].weight)
    torch.optim.SGD([model[2].weight], lr=0.1).step()


def load(model):
    model.load_state_dict({"2.weight": torch.zeros_like(model[2].weight)}, strict=False)


def fill(model):
    nn.init.zeros_(model[2].weight)


@pytest.mark.parametrize("write", [optimise, load, fill])
def test_what_torch_writes_while_a_task_is_active_is_not_overwritten(attached, write):
    model, state, switch = attached
    switch.to("a")
    touched = model[2].weight.detach() != state["2.weight"]
    write(model)
    before = live.bits(model)
    for call in (lambda: switch.to("b"), lambda: switch.off()):
        with pytest.raises(UsageError, match=r"'2\.weight' of the model was written to while 'a'"):
            call()
    live.assert_same(model, before)
    written = model[2].weight.detach().clone()
    switch.off(force=True)
    assert switch.active is None
    weight = model[2].weight.detach()
    assert torch.equal(weight[touched], state["2.weight"][touched])
    assert torch.equal(weight[~touched], written[~touched])
    live.assert_same(model[0], {"weight": state["0.weight"], "bias": state["0.bias"]})
    with pytest.raises(BaseMismatchError, match=r"'2\.weight'"):  # it is still not the base
        switch.to("a")
    with torch.no_grad():
        model[2].weight.copy_(state["2.weight"])
    switch.to("a")
    switch.off()
    live.assert_same(model, state)


@pytest.mark.parametrize("write", [optimise, load, fill])
def test_a_base_that_torch_writes_to_is_no_longer_the_base(attached, write):
    model, state, switch = attached
    switch.to("a")
    switch.off()
    write(model)
    with pytest.raises(BaseMismatchError, match="other weights") as caught:
        switch.to("a")
    assert caught.value.units == ("2.weight",)
    model.load_state_dict(state)
    switch.to("a")
    switch.off()
    live.assert_same(model, state)


def test_a_base_that_is_loaded_again_is_the_base(attached):
    model, state, switch = attached
    model.load_state_dict(state)
    switch.to("a")
    switch.off()
    live.assert_same(model, state)


def test_batch_normalisation_in_training_is_noticed():
    torch.manual_seed(0)
    model = live.Convolution()
    state = live.state_of(model)
    switch = tvbank.attach(model, live.bank_of(state, {"a": live.fine_tune(state)}))
    switch.to("a")
    model.train()(torch.randn(2, 3, 8, 8))
    with pytest.raises(UsageError, match=r"layers\.1\.(running|num)"):
        switch.off()


def test_a_task_that_is_replaced_in_the_bank_is_read_anew(attached, tmp_path):
    model, state, switch = attached
    switch.to("a-exact")
    tuned = live.fine_tune(state, 7)
    switch._bank.add("a-exact", tuned, tvbank.Exact(), base=state, replace=True)
    switch.to("a-exact")
    live.assert_same(model, tuned)
    switch.off()
    live.assert_same(model, state)
