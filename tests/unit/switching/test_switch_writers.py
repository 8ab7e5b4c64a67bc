"""Whoever writes to the weights between two changes, by whatever way: it is noticed."""

import disturbing
import live
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import BaseMismatchError, UsageError
from tvbank.switching._samples import Samples


def assert_noticed(model, switch, names):
    """Neither overwritten nor mixed with a task, until the user says so."""
    before = live.bits(model)
    if switch.active is None:
        with pytest.raises(BaseMismatchError, match="other weights") as caught:
            switch.to("b")
        assert set(names) <= set(caught.value.units)
    else:
        for call in (switch.off, lambda: switch.to("b"), switch.close):
            with pytest.raises(UsageError, match="was written to while 'a' was active"):
                call()
    live.assert_same(model, before)
    if switch.active is not None:
        switch.off(force=True)
        with pytest.raises(BaseMismatchError):
            switch.to("b")


def assert_usable(model, state, switch):
    model.load_state_dict(state)
    switch.to("b")
    switch.off()
    live.assert_same(model, state)


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("kind", disturbing.OPTIMISERS)
def test_every_optimiser(kind, active):
    model, state, switch = live.attached()
    if active:
        switch.to("a")
    disturbing.train(model, disturbing.OPTIMISERS[kind](model.parameters()))
    assert_noticed(model, switch, ["2.weight"])
    assert_usable(model, state, switch)


@pytest.mark.parametrize("own", [False, True])
def test_a_step_is_noted_whatever_it_changes(own, monkeypatch):
    """Of sixteen-bit weights a small step changes few; but the optimiser says that it stepped."""
    monkeypatch.setattr(Samples, "changed", lambda self: [])
    model, state, switch = live.attached()
    switch.to("a")
    flat = model[2].weight.detach().view(-1)[7:50] if own else torch.zeros(9)
    flat.requires_grad_().grad = torch.ones_like(flat)
    torch.optim.SGD([flat], lr=0.0, fused=True).step()
    if own:  # a part of a parameter, as a wrapper that flattens them has
        with pytest.raises(UsageError, match=r"^'2\.weight' of the model was written to"):
            switch.off()
        switch.off(force=True)
        switch.to("b")  # the step was of size 0: it is the base still
    switch.off()
    live.assert_same(model, state)


def test_what_an_optimiser_holds_and_has_no_gradient_is_not_written():
    model, state, switch = live.attached()
    switch.to("a")
    head = nn.Linear(5, 2)
    model.requires_grad_(requires_grad=False)
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], fused=True)
    disturbing.train(nn.Sequential(model, head), optimiser)
    switch.off()
    live.assert_same(model, state)


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("write", disturbing.WRITES)
def test_every_way_of_writing(write, active):
    model, state, switch = live.attached(
        live.perceptron(width=64).requires_grad_(requires_grad=False)
    )
    if active:
        switch.to("a")
    write(model[0].weight)
    assert_noticed(model, switch, ["0.weight"])
    assert_usable(model, state, switch)


@pytest.mark.parametrize("active", [False, True])
def test_inference_tensors(active):
    with torch.inference_mode():
        model = live.perceptron(width=64)
    plain = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    switch = tvbank.attach(model, live.bank_of(plain, {"a": live.fine_tune(plain)}))
    if active:
        switch.to("a")
    with torch.inference_mode():
        model[0].weight.add_(1)
    with pytest.raises(UsageError if active else BaseMismatchError, match=r"'0\.weight'"):
        switch.to("a-exact")


@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("name", ["permuted", "column", "permuted_half", "brain.weight", "mean"])
def test_weights_of_every_kind(name, active):
    model, _, switch = live.attached(live.Mixed())
    if active:
        switch.to("a")
    entry = model.get_parameter(name) if name != "mean" else model.mean
    entry.data.untyped_storage().copy_(torch.ones_like(entry.data).expand_as(entry)[...].new_ones(
        entry.untyped_storage().nbytes() // entry.element_size()).untyped_storage())  # fmt: skip
    with pytest.raises(UsageError if active else BaseMismatchError, match=f"'{name}'"):
        switch.to("b")


def test_buffers_that_a_wrapper_copies_are_noticed():
    model, _, switch = live.attached(live.Convolution())
    switch.to("a")
    model.layers[1].running_mean.data.copy_(torch.ones(8))
    with pytest.raises(UsageError, match=r"layers\.1\.running_mean"):
        switch.to("b")


def test_samples_of_large_tensors():
    """Writing to half of the lines is missed once in 256 times."""
    tensors = [
        torch.zeros(100, 1000),
        torch.zeros(100, 1000)[:, :999],
        torch.zeros(5),
        torch.zeros(0),
    ]
    samples = Samples(tensors)
    samples.take()
    assert samples.changed() == []
    found = 0
    for _ in range(100):
        samples.take()
        for tensor in tensors[:2]:
            tensor[:50].add_(1)
        found += len(samples.changed())
    assert found > 190
    tensors[2][4] = 1
    assert 2 in samples.changed()  # small ones are looked at whole
    samples.take()
    assert samples.changed() == []
    tensors[0].fill_(torch.nan)
    samples.take()
    assert samples.changed() == []


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_goes_on_and_is_noticed():
    model, state, switch = live.attached()
    switch.to("a")
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(3, 24)).square().sum().backward()
    torch.compile(optimiser.step, backend="eager")()
    assert_noticed(model, switch, ["2.weight"])
    assert_usable(model, state, switch)
