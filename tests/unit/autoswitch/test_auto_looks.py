"""Further looks: the answer that is most probably right stays, as its own task gives it."""

import live
import numpy as np
import pytest
import routed
import torch

import tvbank
from tvbank.errors import UsageError

CLOSE = {"cats": 9, "dogs": 9, "cows": 9}


def doubtful():
    """A bank, a router that is often unsure, inputs."""
    model, state, _, bank = routed.setting()
    router = routed.router_for(model, spread=3.0)
    inputs, _ = routed.mixed(CLOSE, spread=3.0)
    return model, state, bank, router, inputs


def answers(bank, state, inputs):
    """Every task's logits, [tasks, n, classes]."""
    twins = [routed.twin(tvbank.merge(bank, {name: 1.0}, base=state)) for name in routed.NAMES]
    with torch.no_grad():
        return torch.stack([twin(inputs) for twin in twins])


@pytest.mark.parametrize("outputs", ["stack", "list"])
def test_the_answer_of_the_largest_product_stays(outputs):
    model, state, bank, router, inputs = doubtful()
    posterior = router.posterior(tvbank.routing.features(model, inputs, at="embed"))
    logits = answers(bank, state, inputs)
    product = posterior * logits.softmax(2).amax(2).T.double().numpy()
    with tvbank.AutoSwitch(model, bank, router, "top1", looks=3, outputs=outputs) as auto:
        found = auto(inputs)
        found = torch.cat(found) if outputs == "list" else found
        best = product.argmax(1)
        assert [routed.NAMES[task] for task in best] == list(auto.last.tasks)
        torch.testing.assert_close(found, logits[best, np.arange(len(best))])
        assert 0 < auto.last.again < len(best)
        assert (auto.last.weights.argmax(1) == best).all()
        assert (best != router.top(tvbank.routing.features(routed.twin(state), inputs,
                                                           at="embed"))).any()  # fmt: skip
    live.assert_same(model, state)


def test_surety_decides_and_sure_examples_run_once():
    model, _, bank, router, inputs = doubtful()
    asked = []

    def dogs_are_sure(outputs, task):
        asked.append((task, len(outputs)))
        return np.full(len(outputs), 1.0 if task == "dogs" else 0.0)

    with tvbank.AutoSwitch(
        model, bank, router, "top1", looks=3, surety=dogs_are_sure, outputs="list"
    ) as auto:
        auto(inputs)
        assert set(auto.last.tasks) == {"dogs"}
        runs = auto.last.runs
        assert sum(count for _, count in asked) > len(inputs)
    with tvbank.AutoSwitch(
        model, bank, router, "top1", looks=3, surety=lambda rows, _: torch.ones(len(rows))
    ) as auto:
        auto(inputs)
        assert auto.last.again < len(inputs)
        assert auto.last.runs < runs


def test_one_look_stays_what_it_was():
    model, _, bank, router, inputs = doubtful()
    with tvbank.AutoSwitch(model, bank, router, "top1") as auto:
        first, tasks = auto(inputs), auto.last.tasks
        assert auto.last.again == 0
    with tvbank.AutoSwitch(model, bank, router, "top1", looks=1) as auto:
        assert torch.equal(auto(inputs), first)
        assert auto.last.tasks == tasks


def test_what_cannot_be_compared_is_refused():
    model, _, bank, router, inputs = doubtful()
    for looks, mode in ((0, "top1"), (2, "sample"), ("two", "top1")):
        with pytest.raises(UsageError, match="looks="):
            tvbank.AutoSwitch(model, bank, router, mode, looks=looks)
    with (
        tvbank.AutoSwitch(model, bank, router, "top1", looks=2, surety=lambda *_: [0.5]) as auto,
        pytest.raises(UsageError, match="one number in 0"),
    ):
        auto(inputs)
    with (
        tvbank.AutoSwitch(
            model, bank, router, "top1", looks=2, forward=lambda model, rows: model(rows)[:, :1]
        ) as auto,
        pytest.raises(UsageError, match="give surety="),
    ):
        auto(inputs)
