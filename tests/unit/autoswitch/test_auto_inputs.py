"""Inputs of every form, and those that make no sense."""

import live
import pytest
import routed
import torch
from torch import nn

import tvbank
from tvbank.errors import BaseMismatchError, NonFiniteError, TaskNotFoundError, UsageError


def automatic(*arguments, **options):
    model, _, _, bank = routed.setting()
    return tvbank.AutoSwitch(model, bank, routed.router_for(model), *arguments, **options)


def test_a_tensor_a_mapping_and_keywords():
    inputs, _ = routed.mixed({"cats": 3, "dogs": 4})
    auto = automatic()
    wanted = auto(inputs)
    assert torch.equal(auto(rows=inputs), wanted)
    assert torch.equal(auto({"rows": inputs}), wanted)


class Texts(nn.Module):
    """Token ids and a mask [n, length] -> scores [n, 3]; a mode that is no tensor goes along."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.head = nn.Embedding(30, 8), nn.Linear(8, 3)
        self.lengths, self.modes = [], []

    def forward(self, ids, mask, *, mode=None):
        self.lengths.append(ids.shape[1])
        self.modes.append(mode)
        real = mask[..., None].float()
        return self.head((self.embed(ids) * real).sum(1) / real.sum(1))


def texts(first, lengths, width=9):
    ids = torch.zeros(len(lengths), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = first + torch.arange(length)
        mask[row, :length] = 1
    return {"ids": ids, "mask": mask}


@pytest.mark.parametrize("trim", [None, "mask"])
def test_padding_and_what_is_no_tensor(trim):
    model = Texts().eval()
    state = live.state_of(model)
    names = {"low": 1, "high": 15}
    bank = tvbank.create(live.MemoryStorage(), base=state, chunk_length=64)
    for number, name in enumerate(names):
        bank.add(name, live.fine_tune(state, number, 0.3), tvbank.TSwitch(drop=0.5), base=state)

    def found(first):
        return tvbank.routing.features(model, texts(first, [2, 3, 4, 5, 6, 7]), at="embed")

    fitted = {name: found(first) for name, first in names.items()}
    router = tvbank.Router.fit(fitted, at="embed", neighbours=3, reject=None)
    both = [texts(1, [2, 4]), texts(15, [6, 5])]
    batch = {name: torch.cat([each[name] for each in both]) for name in ("ids", "mask")}
    auto = tvbank.AutoSwitch(model, bank, router, "top1", trim=trim)
    model.lengths.clear()
    model.modes.clear()
    outputs = auto(**batch, mode="quick")
    assert set(model.modes) == {"quick"}
    assert sorted(model.lengths) == ([4, 6, 6, 6] if trim else [9] * 4)
    assert auto.last.tasks == ("low", "low", "high", "high")
    for rows, name in (([0, 1], "low"), ([2, 3], "high")):
        auto.switch.to(name)
        torch.testing.assert_close(outputs[rows], model(**{k: v[rows] for k, v in batch.items()}))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (torch.zeros(0, routed.WIDTH), "an empty batch"),
        ({"rows": torch.zeros(0, routed.WIDTH)}, "an empty batch"),
        (torch.tensor(1.0), "no dimensions"),
        ({"rows": torch.zeros(2, 3), "mask": torch.zeros(3, 3)}, "'rows' has 2, 'mask' has 3"),
        ({}, "no tensor"),
        ({"rows": None}, "no tensor"),
        ({"rows": torch.zeros(1, 3), "more": [torch.zeros(1)]}, "'more' holds tensors .* a list"),
        ({"rows": torch.zeros(1, 3), "more": {"a": [1]}}, "'more' holds tensors .* a dict"),
        ([1, 2], "must be a tensor or a dict of tensors, not list"),
    ],
)
def test_inputs_without_sense(inputs, message):
    auto = automatic()
    auto(routed.inputs_of("cats", 2))
    for call in (auto, auto.route):
        with pytest.raises(UsageError, match=message):
            call(inputs)
    with pytest.raises(UsageError, match="not both"):
        auto(torch.zeros(1, routed.WIDTH), rows=torch.zeros(1, routed.WIDTH))


def test_trim_needs_a_mask():
    auto = automatic(trim="mask")
    for inputs in (torch.zeros(2, routed.WIDTH), {"rows": torch.zeros(2, routed.WIDTH)}):
        with pytest.raises(UsageError, match="trim='mask' needs an input of that name"):
            auto(inputs)
        assert auto.switch.active is None


def test_features_that_are_not_numbers_leave_the_base():
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    auto(routed.inputs_of("cats", 2))
    with pytest.raises(NonFiniteError):
        auto(torch.full((2, routed.WIDTH), torch.nan))
    live.assert_same(model, state)


def test_arguments_out_of_range():
    model, _, _, bank = routed.setting()
    router = routed.router_for(model)
    with pytest.raises(UsageError, match="mode must be one of 'sample', 'batch', 'top1'"):
        tvbank.AutoSwitch(model, bank, router, "best")
    with pytest.raises(UsageError, match="outputs must be one of 'stack', 'list'"):
        tvbank.AutoSwitch(model, bank, router, outputs="pad")
    with pytest.raises(UsageError, match="at least 0"):
        tvbank.AutoSwitch(model, bank, router, resident_bytes=-1)
    for other in (3, [router, 3], []):
        with pytest.raises(UsageError, match="router"):
            tvbank.AutoSwitch(model, bank, other)


def test_a_router_of_tasks_that_the_bank_lacks():
    model, state, _, bank = routed.setting(("cats", "dogs"))
    with pytest.raises(TaskNotFoundError, match=r"lacks: 'cows'; add them"):
        tvbank.AutoSwitch(model, bank, routed.router_for(model))
    live.assert_same(model, state)


def test_a_task_that_is_removed_meanwhile():
    model, state, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    bank.remove("dogs")
    auto(routed.inputs_of("cats", 2))
    with pytest.raises(TaskNotFoundError, match="dogs"):
        auto(routed.inputs_of("dogs", 2))
    live.assert_same(model, state)


def test_another_model_is_refused():
    model, _, _, bank = routed.setting()
    router = routed.router_for(model)
    with pytest.raises(BaseMismatchError, match="embed"):
        tvbank.AutoSwitch(nn.Linear(3, 3).eval(), bank, router)
    with torch.no_grad():
        model.body[0].bias += 1
    with pytest.raises(BaseMismatchError, match=r"'body.0.bias' .* other weights"):
        tvbank.AutoSwitch(model, bank, router)


def test_a_router_that_taps_what_the_model_lacks():
    model, state, _, bank = routed.setting()
    renamed = nn.ModuleDict({"inner": model}).eval()
    router = routed.router_for(model)
    forward = lambda outer, batch: outer["inner"](batch)  # noqa: E731
    auto = tvbank.AutoSwitch(renamed, bank, router, forward=forward)
    with pytest.raises(UsageError, match="no module 'embed'"):
        auto(routed.inputs_of("cats", 2))
    live.assert_same(model, state)


def test_training_mode_is_refused():
    model, _, _, bank = routed.setting()
    auto = tvbank.AutoSwitch(model, bank, routed.router_for(model))
    model.train()
    with pytest.raises(UsageError, match=r"model.eval\(\)"):
        auto(routed.inputs_of("cats", 2))
    with pytest.raises(UsageError, match=r"model.eval\(\)"):
        tvbank.AutoSwitch(model, bank, routed.router_for(model))
