"""Whatever a model returns comes back in the order of the inputs."""

import collections
import dataclasses

import live
import pytest
import routed
import torch

import tvbank
from tvbank.errors import UsageError

Pair = collections.namedtuple("Pair", "scores rest")


@dataclasses.dataclass
class Record:
    scores: torch.Tensor
    hidden: torch.Tensor | None = None


CONTAINERS = {
    "tensor": lambda scores: scores,
    "tuple": lambda scores: (scores, [scores + 1, None]),
    "named tuple": lambda scores: Pair(scores, {"more": scores.argmax(1), "kind": "linear"}),
    "dict": lambda scores: collections.OrderedDict(scores=scores, loss=None),
    "record": lambda scores: Record(scores),
}


def automatic(forward=None, **options):
    model, _, _, bank = routed.setting()
    return tvbank.AutoSwitch(model, bank, routed.router_for(model), forward=forward, **options)


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container):
    wrap = CONTAINERS[container]
    inputs, _ = routed.mixed({"cats": 3, "dogs": 4})
    plain = automatic()(inputs)
    found = automatic(lambda model, batch: wrap(model(batch)))(inputs)
    wanted = wrap(plain)
    assert type(found) is type(wanted)
    assert_close(found, wanted)
    one_by_one = automatic(lambda model, batch: wrap(model(batch)), outputs="list")(inputs)
    assert len(one_by_one) == 7
    for row, each in enumerate(one_by_one):
        assert type(each) is type(wanted)
        assert_close(each, wrap(plain[row : row + 1]))


def assert_close(found, wanted):
    if isinstance(wanted, torch.Tensor):
        torch.testing.assert_close(found, wanted)
    elif isinstance(wanted, (dict, Record)):
        pairs = [each if isinstance(each, dict) else vars(each) for each in (found, wanted)]
        assert list(pairs[0]) == list(pairs[1])
        for name in pairs[1]:
            assert_close(pairs[0][name], pairs[1][name])
    elif isinstance(wanted, (tuple, list)):
        for one, other in zip(found, wanted, strict=True):
            assert_close(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("outputs", ["stack", "list"])
@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda scores: scores.sum(), r"output is torch.float32 \[\] for \d examples"),
        (lambda scores: {"a": scores.T}, r"output\['a'\] is torch.float32 \[4, \d\]"),
        (lambda scores: (scores, object()), r"output\[1\] is a object"),
    ],
)
def test_what_has_no_examples_is_refused(wrap, message, outputs):
    inputs, _ = routed.mixed({"cats": 3, "dogs": 5})
    with automatic(lambda model, batch: wrap(model(batch)), outputs=outputs) as auto:
        with pytest.raises(UsageError, match=message):
            auto(inputs)
        assert auto.switch.active is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores, count: (scores, count),
        lambda scores, count: [scores] * (count % 2 + 1),
        lambda scores, count: {"a" if count % 2 else "b": scores},
        lambda scores, count: scores if count % 2 else (scores,),
    ],
)
def test_what_differs_between_groups_is_refused(wrap):
    inputs, _ = routed.mixed({"cats": 3, "dogs": 4})
    auto = automatic(lambda model, batch: wrap(model(batch), len(batch)))
    with pytest.raises(UsageError, match="differs between groups"):
        auto(inputs)


def test_heads_follow_the_task_and_may_have_any_width():
    model, state, _, _ = routed.setting()
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head")}
    bank = tvbank.create(live.MemoryStorage(), base=body, chunk_length=64)
    tunes = {}
    for number, (name, classes) in enumerate(zip(routed.NAMES, (2, 2, 5), strict=True)):
        torch.manual_seed(number)
        tunes[name] = live.fine_tune(body, number, 0.3) | {
            "head.weight": torch.randn(classes, 16), "head.bias": torch.randn(classes)
        }  # fmt: skip
        bank.add(name, tunes[name], tvbank.Exact(), base=body)
    router = routed.router_for(model)
    with tvbank.AutoSwitch(model, bank, router, "top1") as auto:
        inputs, truth = routed.mixed({"cats": 3, "dogs": 2})
        assert auto(inputs).shape == (5, 2)
        inputs, truth = routed.mixed({"cats": 3, "cows": 2})
        with pytest.raises(UsageError, match=r"\[\d, \d\] for 'c.*outputs='list'"):
            auto(inputs)
        live.assert_same(model, state)
    with tvbank.AutoSwitch(model, bank, router, "top1", outputs="list") as auto:
        for row, output in enumerate(auto(inputs)):
            expert = routed.twin(tunes[truth[row]])
            torch.testing.assert_close(output, expert(inputs[row : row + 1]))


def test_heads_of_a_weighted_sum_are_those_of_the_largest_weight():
    model, state, _, _ = routed.setting()
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head")}
    bank = tvbank.create(live.MemoryStorage(), base=body, chunk_length=64)
    heads = {}
    for number, name in enumerate(routed.NAMES):
        torch.manual_seed(number)
        heads[name] = {"head.weight": torch.randn(4, 16), "head.bias": torch.randn(4)}
        tuned = live.fine_tune(body, number, 0.3) | heads[name]
        bank.add(name, tuned, tvbank.TSwitch(drop=0.5), base=body)
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model), "batch")
    inputs, _ = routed.mixed({"cats": 1, "dogs": 2, "cows": 1})
    outputs = auto(inputs)
    weights = dict(zip(routed.NAMES, (0.25, 0.5, 0.25), strict=True))
    merged = tvbank.merge(bank, weights, base=body) | heads["dogs"]
    assert torch.equal(outputs, routed.twin(merged)(inputs))
