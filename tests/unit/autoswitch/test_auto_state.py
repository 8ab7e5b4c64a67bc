"""What the model is between calls, after errors, and when others change it."""

import threading

import live
import pytest
import routed
import torch

import tvbank
from tvbank.errors import UsageError


def test_the_model_stays_at_the_last_task_and_close_restores_the_base():
    model, state, _, bank = routed.setting()
    with tvbank.AutoSwitch(model, bank, routed.router_for(model)) as auto:
        assert auto.switch.active is None
        auto(routed.inputs_of("dogs", 2))
        assert auto.switch.active == "dogs"
        assert "3 tasks" in repr(auto)
    live.assert_same(model, state)
    auto.close()
    for call in (auto, auto.route):
        with pytest.raises(UsageError, match="closed"):
            call(routed.inputs_of("dogs", 2))
    with pytest.raises(UsageError, match="closed"):
        auto.prefetch()


def test_outputs_do_not_depend_on_what_the_model_was_before():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model, spread=2.0))
    batches = [routed.mixed({"cats": 4, "dogs": 4}, seed, 2.0)[0] for seed in (1, 2)]
    first = [auto(batch) for batch in batches]
    again = [auto(batch) for batch in reversed(batches)]
    for one, other in zip(first, reversed(again), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_whatever_interrupts_a_forward_pass_the_model_is_the_base(kind, call):
    model, state, _, bank = routed.setting()
    calls = []

    def forward(model, batch):
        calls.append(len(batch))
        if len(calls) == call:
            raise kind("enough")
        return model(batch)

    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), "top1", forward=forward)
    inputs, _ = routed.mixed({"cats": 2, "dogs": 3})
    with pytest.raises(kind, match="enough"):
        auto(inputs)
    live.assert_same(model, state)
    assert auto.last is None
    assert auto(inputs).shape == (5, 4)


def test_a_model_that_is_cast_or_replaced_at_the_base_is_noticed():
    model, _, _, bank = routed.setting()
    router = routed.router_for(model)
    for where in (torch.float64, torch.float16, "meta"):
        model, _, _, bank = routed.setting()
        auto = tvbank.AutoSwitch(model, bank, router)
        model.to(where)
        with pytest.raises(UsageError, match="moved to another device or element type"):
            auto(routed.inputs_of("cats", 2))
        assert auto.switch.active is None
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, router)
    model.embed = torch.nn.Linear(routed.WIDTH, 16)
    with pytest.raises(UsageError, match=r"'embed\.weight', 'embed"):
        auto(routed.inputs_of("cats", 2))


def test_a_model_that_is_cast_while_a_task_is_active_is_refused():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    auto(routed.inputs_of("cats", 2))
    model.double()
    for _ in range(2):
        with pytest.raises(UsageError, match="moved to another device or element type"):
            auto(routed.inputs_of("cats", 2))
    with pytest.raises(UsageError, match="moved"):
        auto.close()


def test_weights_that_others_write_to_are_refused():
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    auto(routed.inputs_of("cats", 2))
    with torch.no_grad():
        model.embed.weight[0, 0] += 1
    with pytest.raises(UsageError, match="was written to"):
        auto(routed.inputs_of("cats", 2))
    changed = {name for name in state if not torch.equal(model.state_dict()[name], state[name])}
    assert changed <= {"embed.weight"}


def test_no_gradients_and_no_traces():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    assert not auto(routed.inputs_of("cats", 2)).requires_grad
    assert not any(module._forward_hooks for module in model.modules())
    with torch.inference_mode():
        auto(routed.inputs_of("dogs", 2))


def test_prefetched_tasks_are_in_memory():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    auto.prefetch("dogs")
    assert set(auto.switch.resident) == {"dogs"}
    auto.prefetch()
    assert set(auto.switch.resident) == set(routed.NAMES)


def test_half_precision():
    model, _, _, _ = routed.setting()
    model.bfloat16()
    state = live.state_of(model)
    bank = live.bank_of(
        state, {n: live.fine_tune(state, k, 0.3) for k, n in enumerate(routed.NAMES)}
    )
    found = {n: tvbank.routing.features(model, routed.inputs_of(n, 40).bfloat16(), at="embed")
             for n in routed.NAMES}  # fmt: skip
    router = tvbank.Router.fit(found, at="embed", reject=None)
    auto = tvbank.AutoSwitch(model, bank, router)
    inputs = routed.inputs_of("cows", 3, seed=2).bfloat16()
    expert = routed.Classifier().bfloat16().eval()
    expert.load_state_dict(tvbank.merge(bank, {"cows": 1.0}, base=state))
    assert torch.equal(auto(inputs), expert(inputs))


def test_threads_take_turns():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), "top1")
    batches = [routed.mixed({"cats": 3, "cows": 2}, seed)[0] for seed in range(8)]
    wanted = [auto(batch) for batch in batches]
    found = {}

    def work(number):
        found[number] = auto(batches[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, output in enumerate(wanted):
        torch.testing.assert_close(found[number], output)
