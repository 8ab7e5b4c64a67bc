"""Several routers, one after the other, out of a bank or not."""

import pytest
import routed
import torch

import tvbank
from tvbank.errors import RouterNotFoundError, TaskNotFoundError, UsageError
from tvbank.routing.cascade import Cascade, Stage


def setting():
    model, _, _, bank = routed.setting()
    routers = [routed.router_for(model, at, spread=2.0) for at in ("embed", "body")]
    return model, bank, routers


def test_only_what_the_first_router_is_unsure_of_goes_to_the_second():
    model, bank, (first, second) = setting()
    inputs, _ = routed.mixed({"cats": 20, "dogs": 20}, 3, 2.0)
    seen = []

    def forward(model, batch):
        seen.append(len(batch))
        return model(batch)

    cascade = Cascade([Stage(first, 0.8), Stage(second, 0.8)])
    with tvbank.AutoSwitch(model, bank, cascade, "top1", forward=forward) as auto:
        found = auto.route(inputs)
    unsure = int((found.stages == 1).sum())
    assert seen == [40, unsure]
    assert 0 < unsure < 40
    assert (found.confidence[found.stages == 0] >= 0.8).all()
    each = []
    for router in (first, second):
        with tvbank.AutoSwitch(model, bank, router, "top1") as auto:
            each.append(auto.route(inputs).tasks)
    assert list(found.tasks) == [each[stage][row] for row, stage in enumerate(found.stages)]


def test_names_of_routers_in_the_bank():
    model, bank, routers = setting()
    bank.add_router("shallow", routers[0])
    bank.add_router("deep", routers[1])
    inputs, _ = routed.mixed({"cats": 20, "dogs": 20}, 3, 2.0)
    for stored, given in (("deep", routers[1]), (["shallow", "deep"], routers)):
        with tvbank.AutoSwitch(model, bank, given) as auto:
            wanted = auto(inputs)
            routing = auto.last
        with tvbank.AutoSwitch(model, bank, stored) as auto:
            assert torch.equal(auto(inputs), wanted)
            assert auto.last.tasks == routing.tasks
            assert auto.last.stages.tolist() == routing.stages.tolist()
    with pytest.raises(RouterNotFoundError, match="'middle'"):
        tvbank.AutoSwitch(model, bank, ["shallow", "middle"])
    bank.remove("cows")
    with pytest.raises(TaskNotFoundError, match="lacks: 'cows'"):
        tvbank.AutoSwitch(model, bank, "deep")


@pytest.mark.parametrize("pool", [False, True])
def test_routers_that_keep_centres_or_pool_must_be_rather_sure(pool):
    model, bank, routers = setting()
    shallow = routed.router_for(model, "embed", spread=2.0, centres=None if pool else 10)
    with tvbank.AutoSwitch(model, bank, [shallow, routers[1]], "top1", pool=pool) as auto:
        inputs, _ = routed.mixed({"cats": 20, "dogs": 20}, 3, 2.0)
        auto(inputs)
        first = auto.last.stages == 0
        assert first.any()
        assert (auto.last.confidence[first] >= 0.9).all()


def test_routers_of_different_tasks():
    model, bank, routers = setting()
    other = routed.router_for(model, names=("cats", "dogs"))
    with pytest.raises(UsageError, match="must know the same tasks"):
        tvbank.AutoSwitch(model, bank, [other, routers[1]])
