"""Modules in front of the first unit that a task touches run once; results stay what they were."""

import live
import pytest
import routed
import torch
from torch import nn

import tvbank


class Deep(nn.Module):
    """Rows [n, 12] -> scores [n, 4], through blocks that count their calls."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(routed.WIDTH, 16)
        self.blocks = nn.ModuleList(Block() for _ in range(4))
        self.head = nn.Linear(16, 4)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, rows):
        hidden = self.embed(rows)
        for block in self.blocks:
            hidden = block(hidden, scale=torch.ones(1))
            hidden.relu_()  # what a module returned is written to
        return self.head(hidden)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.calls = nn.Linear(16, 16), 0

    def forward(self, hidden, *, scale):
        self.calls += len(hidden)
        return hidden + scale * self.inner(hidden)


def setting(first_touched, compressor=None):
    """A bank whose tasks leave the embedding and some blocks alone."""
    model = Deep().eval()
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    tunes = {}
    for number, name in enumerate(routed.NAMES):
        tuned = live.fine_tune(state, number, 0.3)
        kept = ("embed.", *(f"blocks.{k}." for k in range(first_touched)))
        tunes[name] = {n: state[n] if n.startswith(kept) else t for n, t in tuned.items()}
        bank.add(name, tunes[name], compressor or tvbank.Exact(), base=state)
    return model, state, tunes, bank


def calls(model):
    counts = [block.calls for block in model.blocks]
    for block in model.blocks:
        block.calls = 0
    return counts


@pytest.mark.parametrize("compressor", [None, tvbank.TSwitch(drop=0.5)])
@pytest.mark.parametrize("first", [0, 2, 3])
def test_blocks_in_front_of_the_first_touched_one_run_once(first, compressor):
    model, state, _, bank = setting(first, compressor)
    router = routed.router_for(model, "blocks.2")
    inputs, _ = routed.mixed({"cats": 5, "dogs": 3})
    with tvbank.AutoSwitch(model, bank, router, "top1") as auto:
        auto(inputs)  # now it knows what the tasks touch
        assert auto.last.reused == 0
        auto(inputs)  # now it knows that rows of their outputs are examples
        calls(model)
        outputs = auto(inputs)
        spared = min(first, 3)
        assert calls(model) == [8 if k < spared else 16 if k < 3 else 8 for k in range(4)]
        assert auto.last.reused == (2 * (1 + spared) if first else 2)
    with tvbank.AutoSwitch(model, bank, router, "top1", reuse=False) as auto:
        torch.testing.assert_close(outputs, auto(inputs))
        assert auto.last.reused == 0
    live.assert_same(model, state)
    assert not any("forward" in vars(module) for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())


def test_one_task_gives_the_bits_of_a_whole_pass():
    model, _, tunes, bank = setting(2)
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model, "blocks.2"))
    inputs = routed.inputs_of("cows", 6, 4)
    expert = Deep().eval()
    expert.load_state_dict(tunes["cows"])
    for reused in (0, 3):
        assert torch.equal(auto(inputs), expert(inputs))
        assert auto.last.reused == reused


def test_rejected_inputs_run_on_from_where_features_were_taken():
    model, state, _, bank = setting(3)
    router = routed.router_for(model, "blocks.2", metric="euclidean", reject=0.02)
    auto = tvbank.AutoSwitch(model, bank, router)
    inputs = torch.cat([routed.inputs_of("cats", 2, 4, 0.1), -9 * torch.ones(2, routed.WIDTH)])
    auto(inputs)
    auto(inputs)
    calls(model)
    outputs = auto(inputs)
    assert auto.last.tasks == ("cats", "cats", None, None)
    assert calls(model) == [4, 4, 4, 4]
    base = Deep().eval()
    base.load_state_dict(state)
    torch.testing.assert_close(outputs[2:], base(inputs[2:]))


def test_a_task_that_is_replaced_is_looked_at_anew():
    model, state, _, bank = setting(3)
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model, "blocks.2"), "top1")
    inputs = routed.inputs_of("dogs", 3)
    auto(inputs)
    auto(inputs)
    assert auto.last.reused == 4
    auto.switch.off()
    everything = live.fine_tune(state, 9, 0.3)
    bank.add("dogs", everything, tvbank.Exact(), base=state, replace=True)
    expert = Deep().eval()
    expert.load_state_dict(everything)
    for _ in range(2):
        assert torch.equal(auto(inputs), expert(inputs))
        assert auto.last.reused == 0


def test_inputs_of_any_kind_do_not_confuse_it():
    """A module that is called twice, with a number, without a batch, or returns more than rows."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Linear(routed.WIDTH, 16)
            self.twice, self.table = nn.Linear(16, 16), Table()
            self.head = nn.Linear(16, 4)

        def forward(self, rows, power=1):
            hidden = self.twice(torch.tanh(self.twice(self.embed(rows))))
            found, rest = self.table(16, power=power)
            return self.head(hidden + found + rest["more"])

    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16))

        def forward(self, width, power):
            return self.weight[:width] ** power, {"more": [0.5, None][0]}

    model = Odd().eval()
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    for number, name in enumerate(routed.NAMES):
        tuned = dict(state) | {"head.weight": state["head.weight"] + number + 1}
        bank.add(name, tuned, tvbank.Exact(), base=state)
    router = routed.router_for(model, "head")
    auto = tvbank.AutoSwitch(model, bank, router, "top1")
    for count in (3, 16):  # as many as the features: what has a row an example is ambiguous
        inputs, _ = routed.mixed({"cats": count - 2, "dogs": 2})
        for power in (1, 2):
            for _ in range(3):
                outputs = auto(rows=inputs, power=power)
            assert auto.last.reused == 8
            with tvbank.AutoSwitch(Odd().eval(), bank, router, "top1", reuse=False) as plain:
                torch.testing.assert_close(outputs, plain(rows=inputs, power=power))


def test_a_head_that_is_exchanged_is_no_longer_what_it_was():
    model, state, _, _ = setting(4)
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head")}
    bank = tvbank.create(live.MemoryStorage(), base=body, chunk_length=64)
    for number, name in enumerate(routed.NAMES):
        torch.manual_seed(number)
        head = {"head.weight": torch.randn(7, 16), "head.bias": torch.randn(7)}
        bank.add(name, {**body, **head}, tvbank.Exact(), base=body)
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model, "head"), "top1")
    inputs = routed.inputs_of("cats", 3, 5)
    for _ in range(2):
        outputs = auto(inputs)
        assert outputs.shape == (3, 7)
    assert auto.last.reused == 5


def test_a_task_that_is_only_a_head_runs_the_encoder_once():
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("encoder", Deep())
    model.add_module("probe", nn.Linear(4, 3))
    model.eval()
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    for number, name in enumerate(routed.NAMES):
        tuned = state | {"probe.weight": state["probe.weight"] * (number + 2)}
        bank.add(name, tuned, tvbank.Exact(), base=state)
    router = routed.router_for(model, "encoder.blocks.2")
    auto = tvbank.AutoSwitch(model, bank, router, "top1")
    inputs, _ = routed.mixed({"cats": 3, "dogs": 2})
    wanted = auto(inputs)
    auto(inputs)
    calls(model.encoder)
    torch.testing.assert_close(auto(inputs), wanted)
    assert calls(model.encoder) == [5, 5, 5, 5]
    assert auto.last.reused == 2 * 4


@pytest.mark.parametrize("first", [0, 3])
def test_a_twin_spares_the_way_back_to_the_base(first):
    model, state, tunes, bank = setting(first)
    router = routed.router_for(model, "blocks.2")
    with tvbank.AutoSwitch(model, bank, router, twin=True) as auto:
        moves = []
        plain = auto.switch.off
        auto.switch.off = lambda **options: (moves.append(1), plain(**options))
        for name in ("dogs", "dogs", "cats", "cats"):
            inputs = routed.inputs_of(name, 4, 6)
            expert = Deep().eval()
            expert.load_state_dict(tunes[name])
            torch.testing.assert_close(auto(inputs), expert(inputs))
            assert auto.switch.active == name
        assert auto.last.reused == (1 + first if first else 1)
        assert not moves
        inputs, truth = routed.mixed({"dogs": 2, "cats": 3}, 7)
        auto(inputs)
        assert list(auto.last.tasks) == truth
        assert auto.switch.active == "dogs"  # the present task went first
    live.assert_same(model, state)


class Recurrent(nn.Module):
    """Its state [layers, n, d] is as long as there are examples, by chance."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(routed.WIDTH, 8)
        self.lstm = nn.LSTM(8, 8, num_layers=4, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, rows):
        _, (state, _) = self.lstm(torch.tanh(self.embed(rows))[:, None])
        return self.head(state[-1])


def test_rows_that_are_examples_by_chance_alone_are_not_answered():
    model = Recurrent().eval()
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    for number, name in enumerate(routed.NAMES):
        tuned = state | {"head.weight": state["head.weight"] * (number + 2)}
        bank.add(name, tuned, tvbank.Exact(), base=state)
    router = routed.router_for(model, "head")
    inputs, _ = routed.mixed({"cats": 2, "dogs": 2})  # four examples, four layers
    with tvbank.AutoSwitch(model, bank, router, "top1", reuse=False) as auto:
        wanted = auto(inputs)
    with tvbank.AutoSwitch(model, bank, router, "top1") as auto:
        for _ in range(4):
            torch.testing.assert_close(auto(inputs), wanted)
