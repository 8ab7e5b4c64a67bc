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


class Cache:
    """As transformers' DynamicCache."""


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
        (lambda scores: {"loss": scores.sum()}, r"output\['loss'\].*call without labels"),
        (lambda scores: (scores, Cache()), r"output\[1\] is a Cache: call with use_cache=False"),
        (
            lambda scores: scores @ scores.T,
            r"output is torch.float32 \[\d, \d\] for \d examples and",
        ),
        (lambda scores: scores.new_ones(3, len(scores), 2), "output is torch.float32"),
        (
            lambda scores: torch.cat([scores, scores[:, :1].T.expand(len(scores), -1)], 1),
            "output is",
        ),
    ],
)
@pytest.mark.parametrize(
    "counts", [{"cats": 3, "dogs": 5}, {"cats": 3, "dogs": 3}, {"cats": 1, "dogs": 1}]
)
def test_what_has_no_examples_is_refused(wrap, message, outputs, counts):
    inputs, _ = routed.mixed(counts)
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


@pytest.mark.parametrize("count", range(1, 6))
def test_what_is_by_example_by_chance_alone_is_never_stacked(count):
    """The state of a recurrent net [layers, n, d], for groups of every size."""
    auto = automatic(lambda model, batch: model(batch)[None].expand(3, -1, -1))
    for other in range(1, 6):
        with pytest.raises(UsageError, match="dimension 0"):
            auto(routed.mixed({"cats": count, "dogs": other})[0])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores: scores @ scores.T,
        lambda scores: scores.sum(),
        lambda scores: (scores, Cache()),
    ],
)
def test_of_one_group_the_models_own_output_is_returned(wrap):
    auto = automatic(lambda model, batch: wrap(model(batch)), mode="top1")
    auto(routed.mixed({"cats": 3})[0])
    assert auto.last.runs == 1
    one = automatic(lambda model, batch: wrap(model(batch)), outputs="list")
    assert len(one(routed.mixed({"cats": 1})[0])) == 1


def test_what_has_been_shown_is_not_shown_again():
    sizes = []

    def forward(model, batch):
        sizes.append(len(batch))
        return {"scores": model(batch)}

    auto = automatic(forward, mode="top1", reuse=False)
    inputs, _ = routed.mixed({"cats": 3, "dogs": 3})
    for expected in ([6, 3, 3, 4], [6, 3, 3]):
        sizes.clear()
        auto(inputs)
        assert sizes == expected
    sizes.clear()
    automatic(forward, mode="top1")(routed.mixed({"cats": 3, "dogs": 2})[0])
    assert sorted(sizes) == [2, 3, 5]  # groups of two sizes show it by themselves


def test_an_output_that_only_some_inputs_make_is_shown_apart():
    def forward(model, batch):
        scores = model(batch["rows"])
        return {"scores": scores @ scores.T if batch["match"] else scores}

    auto = automatic(forward, mode="top1")
    inputs, _ = routed.mixed({"cats": 3, "dogs": 3})
    assert auto(rows=inputs, match=False)["scores"].shape == (6, 4)
    with pytest.raises(UsageError, match=r"output\['scores'\] is torch.float32 \[3, 3\]"):
        auto(rows=inputs, match=True)
    assert auto(rows=inputs, match=False)["scores"].shape == (6, 4)


def test_caches_of_plain_tensors_are_stacked():
    auto = automatic(lambda model, batch: {"past_key_values": ((model(batch)[:, None],) * 2,)})
    (pair,) = auto(routed.mixed({"cats": 3, "dogs": 3})[0])["past_key_values"]
    assert [tuple(each.shape) for each in pair] == [(6, 1, 4)] * 2
