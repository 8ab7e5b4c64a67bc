"""Every example gets what its own merged weights give, in every mode."""

import live
import numpy as np
import pytest
import routed
import torch

import tvbank


def groups(auto):
    """Rows of equal weights and heads, as they ran together."""
    last = auto.last
    keys = [(row.tobytes(), task) for row, task in zip(last.weights, last.tasks, strict=True)]
    return {key: [n for n, each in enumerate(keys) if each == key] for key in dict.fromkeys(keys)}


def assert_as_merged(auto, outputs, inputs, bank, state):
    """Bit for bit what ``merge`` gives, run in the same groups; and nearly so one by one."""
    assert auto.last.runs == len(groups(auto))
    for rows in groups(auto).values():
        weights = auto.last.weights[rows[0]]
        wanted = {n: float(w) for n, w in zip(auto.tasks, weights, strict=True) if w}
        model = routed.twin(tvbank.merge(bank, wanted, base=state) if wanted else state)
        assert torch.equal(outputs[rows], model(inputs[rows]))
        for row in rows:
            torch.testing.assert_close(outputs[row : row + 1], model(inputs[row : row + 1]))


def test_top1_is_export_for_each_example(tmp_path):
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), "top1")
    inputs, truth = routed.mixed({"cats": 5, "dogs": 3, "cows": 4})
    outputs = auto(inputs)
    assert list(auto.last.tasks) == truth
    for name in routed.NAMES:
        rows = [n for n, task in enumerate(truth) if task == name]
        expert = routed.twin(live.exported(bank, name, state, tmp_path))
        assert torch.equal(outputs[rows], expert(inputs[rows]))


def test_sample_is_merge_for_each_example():
    model, state, _, bank = routed.setting()
    router = routed.router_for(model, spread=2.0)
    with tvbank.AutoSwitch(model, bank, router, "sample") as auto:
        inputs, _ = routed.mixed({"cats": 9, "dogs": 9, "cows": 9}, spread=2.0)
        outputs = auto(inputs)
        assert_as_merged(auto, outputs, inputs, bank, state)
        fractions = auto.last.weights[(auto.last.weights > 0) & (auto.last.weights < 1)]
        assert len(fractions)
    live.assert_same(model, state)


def test_batch_is_merge_with_the_mean_weights():
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), mode="batch")
    inputs, _ = routed.mixed({"cats": 6, "dogs": 2})
    outputs = auto(inputs)
    assert auto.last.runs == 1
    assert auto.last.weights.tolist() == [[0.75, 0.25, 0.0]] * 8
    assert set(auto.last.tasks) == {"cats"}
    assert_as_merged(auto, outputs, inputs, bank, state)


@pytest.mark.parametrize("mode", ["sample", "top1"])
def test_rejected_inputs_run_on_the_base(mode):
    model, state, _, bank = routed.setting()
    router = routed.router_for(model, metric="euclidean", reject=0.02)
    auto = tvbank.AutoSwitch(model, bank, router, mode)
    known = routed.inputs_of("dogs", 3, seed=5, spread=0.1)
    inputs = torch.cat([known, -9 * torch.ones(2, routed.WIDTH)])
    outputs = auto(inputs)
    assert auto.last.tasks == ("dogs", "dogs", "dogs", None, None)
    assert auto.last.confidence[3:].tolist() == [0, 0]
    assert auto.last.counts() == {"dogs": 3, "(base)": 2}
    assert "(base): 2" in repr(auto.last)
    assert torch.equal(outputs[3:], routed.twin(state)(inputs[3:]))


def test_rejected_inputs_weigh_on_the_base_in_a_batch():
    model, state, _, bank = routed.setting()
    router = routed.router_for(model, metric="euclidean", reject=0.02)
    auto = tvbank.AutoSwitch(model, bank, router, "batch")
    known = routed.inputs_of("dogs", 1, seed=5, spread=0.1)
    inputs = torch.cat([known, -9 * torch.ones(3, routed.WIDTH)])
    outputs = auto(inputs)
    assert auto.last.weights.tolist() == [[0.0, 0.25, 0.0]] * 4
    assert set(auto.last.tasks) == {None}
    assert_as_merged(auto, outputs, inputs, bank, state)


def test_an_exact_task_with_all_the_weight_is_the_fine_tune():
    model, state, tunes, _ = routed.setting()
    bank = live.bank_of(state, {})
    for name, tuned in tunes.items():
        bank.add(name, tuned, tvbank.Exact(), base=state)
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    inputs = routed.inputs_of("cows", 6)
    assert torch.equal(auto(inputs), routed.twin(tunes["cows"])(inputs))


def test_the_routing_of_a_batch_can_be_asked_without_running_it():
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), "top1")
    inputs, truth = routed.mixed({"cats": 5, "dogs": 3})
    found = auto.route(inputs)
    assert (list(found.tasks), found.runs, auto.last) == (truth, 0, None)
    assert found.names == routed.NAMES == auto.tasks
    assert np.array_equal(found.weights.sum(1), np.ones(8))
    live.assert_same(model, state)


def test_pooling_lets_the_batch_decide():
    model, _, _, bank = routed.setting()
    router = routed.router_for(model, spread=2.0)
    alone = tvbank.AutoSwitch(model, bank, router, "top1")
    inputs = routed.inputs_of("dogs", 40, seed=3, spread=2.0)
    assert set(alone.route(inputs).tasks) > {"dogs"}
    alone.close()
    auto = tvbank.AutoSwitch(model, bank, router, pool=True)
    auto(inputs)
    assert auto.last.runs == 1
    assert set(auto.last.tasks) == {"dogs"}
    assert auto.last.weights[:, 1].tolist() == [1.0] * 40
