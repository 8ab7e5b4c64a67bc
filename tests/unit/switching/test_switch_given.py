"""Tasks that were stored given the base: decoded in place, beside the weights that they change."""

import numpy as np
import pytest
import torch

import tvbank
from tvbank.errors import CorruptionError
from tvbank.storage import MemoryStorage
from tvbank.switching import Switch
from tvbank.switching._model import AttachedModel

GIVEN = tvbank.Exact()


def state(moves, dtype=torch.bfloat16):
    """Weights of many exponents, after some updates of about one size."""
    dice = torch.Generator().manual_seed(0)
    weights = torch.randn((96, 128), generator=dice) * 2.0 ** -torch.arange(128).remainder(9)
    for _ in range(moves):
        weights = weights + 2e-4 * torch.randn(weights.shape, generator=dice)
    return {"w": weights.to(dtype), "bias": torch.full((7,), 1.0 + moves / 64).to(dtype)}


def net_of(tensors):
    """A module that holds these tensors as they are."""
    net = torch.nn.Module()
    for name, tensor in tensors.items():
        net.register_parameter(name, torch.nn.Parameter(tensor.clone(), requires_grad=False))
    return net


def bits(tensors):
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    return {name: tensor.view(torch.uint8).numpy().tobytes() for name, tensor in whole.items()}


@pytest.fixture(scope="module")
def chain():
    bank = tvbank.create(MemoryStorage(), state(0), chunk_length=2048)
    for step in (1, 2, 3):
        parent = f"s{step - 1}" if step > 1 else None
        bank.add(f"s{step}", state(step), GIVEN, base=state(0), parent=parent)
    bank.add("alone", state(1), tvbank.Exact(standalone=True))
    bank.add("other", state(2), GIVEN, base=state(0))
    assert bank["s3"].needs_base
    return bank


def turned(tensors):
    """The same, with the matrix's entries in another order in memory."""
    return tensors | {"w": tensors["w"].T.contiguous().T}


def as_float32(tensors):
    return {name: tensor.float() for name, tensor in tensors.items()}


@pytest.mark.parametrize("held", [dict, turned, as_float32])
def test_a_chain_is_followed_step_by_step_and_back(chain, held):
    net = net_of(held(state(0)))
    if held is turned:
        net.w.data = turned(state(0))["w"]
        assert not net.w.is_contiguous()
    switch = tvbank.attach(net, chain)
    for step in (3, 1, 2, 3, 2):
        switch.to(f"s{step}")
        assert bits(net.state_dict()) == bits(held(state(step)))
        switch.to("alone" if step == 3 else "other")
        switch.to(f"s{step}")
        assert bits(net.state_dict()) == bits(held(state(step)))
    switch.off()
    assert bits(net.state_dict()) == bits(held(state(0)))


def test_sums_are_those_of_frames_that_stand_alone(chain):
    nets = [net_of(state(0)) for _ in range(2)]
    given, alone = (tvbank.attach(net, chain) for net in nets)
    given.to("s3")  # what is there goes before a sum is made beside the base
    given.to({"s1": 0.5})
    alone.to({"alone": 0.5})
    assert bits(nets[0].state_dict()) == bits(nets[1].state_dict())
    given.to({"other": 0.25, "s2": 0.5, "s1": -0.25})
    merged = tvbank.merge(chain, {"other": 0.25, "s2": 0.5, "s1": -0.25}, base=state(0))
    assert bits(nets[0].state_dict()) == bits(merged)


def test_weights_that_others_scrambled_are_named(chain, monkeypatch):
    net = net_of(state(0))
    switch = tvbank.attach(net, chain)
    monkeypatch.setattr(AttachedModel, "check_unwritten", lambda *_: None)
    noise = np.random.default_rng(0).integers(-9999, 9999, net.w.shape)
    net.w.data.view(torch.int16).numpy()[:] = noise
    scrambled = bits(net.state_dict())
    with pytest.raises(CorruptionError, match="or others have written to 'w' of the model"):
        switch.to("s1")
    assert bits(net.state_dict()) == scrambled


def test_a_follower_keeps_the_version_before_one_that_turns_out_to_be_wrong(monkeypatch):
    bank = tvbank.create(MemoryStorage(), state(0), chunk_length=2048)
    bank.add("s1", state(1), GIVEN, base=state(0))
    net, to = net_of(state(0)), Switch.to
    follower = tvbank.follow(net, bank)
    bank.add("s2", state(2), GIVEN, base=state(0), parent="s1")

    def fails_half_way(switch, name):
        if name == "s2":
            switch.off()
            raise CorruptionError("run", "a frame violates the format", key="c/0")
        to(switch, name)

    monkeypatch.setattr(Switch, "to", fails_half_way)
    with pytest.raises(CorruptionError):
        follower.update()
    assert (follower.version, bits(net.state_dict())) == ("s1", bits(state(1)))
    monkeypatch.undo()
    report = follower.update()
    assert (report.version, report.route, report.tasks) == ("s2", "steps", ("s2",))
    assert bits(net.state_dict()) == bits(state(2))
