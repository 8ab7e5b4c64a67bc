"""Without examples: the task whose vector responds most to an input."""

import live
import numpy as np
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import NonFiniteError, TaskNotFoundError, UsageError
from tvbank.routing import VectorRouter
from tvbank.routing.vectors import directions

NAMES = ("cats", "cows", "dogs")
WIDTH = 12


class Tokens(nn.Module):
    """Tokens [n, t, 12], a mask [n, t] -> logits [n, 2] of the mean of the real tokens."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x, attention_mask=None):
        hidden = torch.tanh(self.second(torch.relu(self.first(x))))
        if attention_mask is None:
            return self.head(hidden.mean(1))
        real = attention_mask[..., None].float()
        return self.head((hidden * real).sum(1) / real.sum(1))


def changed(state, number, heads=False):
    """A fine-tune of which the first layer differs in its own four inputs alone."""
    chance = torch.Generator().manual_seed(number)
    tuned = {name: weight.clone() for name, weight in state.items()}
    own = slice(4 * number, 4 * number + 4)
    tuned["first.weight"][:, own] += 0.3 * torch.randn(WIDTH, 4, generator=chance)
    if heads:
        tuned["head.weight"] = torch.randn(3 + number, WIDTH, generator=chance)
        tuned["head.bias"] = torch.zeros(3 + number)
    return tuned


def filled(folder, heads=False, compressor=None):
    """A model, its weights, and a bank of three tasks."""
    torch.manual_seed(3)
    model = Tokens().eval()
    state = {name: weight.clone() for name, weight in model.state_dict().items()}
    bank = tvbank.create(folder / "bank", base=state)
    for number, name in enumerate(NAMES):
        tuned = changed(state, number, heads)
        bank.add(name, tuned, compressor or tvbank.Exact(), replace_mismatched=heads)
    return model, state, bank


def inputs_of(number, count=5, length=6):
    """Inputs that are large where task ``number`` differs from the base."""
    x = 0.1 * torch.randn(count, length, WIDTH, generator=torch.Generator().manual_seed(number))
    x[..., 4 * number : 4 * number + 4] *= 20
    return x


def test_responses_are_the_equation(tmp_path):
    model, state, bank = filled(tmp_path)
    bank.add("rats", {n: w + 0.01 * torch.randn_like(w) for n, w in state.items()}, tvbank.Exact())
    router = tvbank.vector_router(model, bank, rank=WIDTH)
    x, mask = inputs_of(1), torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]] + 3 * [[1] * 6])
    found = router.features(model, {"x": x, "attention_mask": mask})

    entering = {"first": x, "second": torch.relu(model.first(x)), "head": None}
    hidden = torch.tanh(model.second(entering["second"])) * mask[..., None]
    entering["head"] = (hidden.sum(1) / mask.sum(1, keepdim=True))[:, None]
    for column, name in enumerate(router.tasks):
        tuned = tvbank.merge(bank, {name: 1.0}, base=state)
        logs = []
        for layer, tokens in entering.items():
            change = tuned[f"{layer}.weight"] - state[f"{layer}.weight"]
            if change.any():
                kept = tokens * mask[..., None] if layer != "head" else tokens
                energy = (kept @ change.T).square().sum((1, 2)) / kept.square().sum((1, 2))
                logs.append((energy / change.square().sum()).log())
        assert np.allclose(found[:, column], torch.stack(logs).mean(0).detach(), atol=1e-4)
    share = np.exp(3 * found.astype(float))
    assert np.allclose(router.posterior(found), share / share.sum(1, keepdims=True), rtol=1e-4)
    assert (router.top(found) == found.argmax(1)).all()


@pytest.mark.parametrize("heads", [False, True])
def test_a_bank_alone_routes(tmp_path, heads):
    model, state, bank = filled(tmp_path, heads)
    x = torch.cat([inputs_of(number) for number in range(3)])
    router = tvbank.vector_router(model, bank)
    with tvbank.AutoSwitch(model, bank, router, "top1", outputs="list") as auto:
        found = auto(x)
        assert list(auto.last.tasks) == [name for name in NAMES for _ in range(5)]
        assert auto.last.confidence.min() > 0.5
    switch = tvbank.attach(model, bank)
    for number, name in enumerate(NAMES):
        switch.to(name)
        own = torch.cat(found[5 * number : 5 * number + 5])
        torch.testing.assert_close(own, model(inputs_of(number)))
    switch.close()
    live.assert_same(model, state)


def test_it_is_made_from_what_any_compressor_stores_and_leaves_the_base(tmp_path):
    model, state, bank = filled(tmp_path, compressor=tvbank.TSwitch(drop=0.5))
    router = tvbank.vector_router(model, bank, ["dogs", "cats"])
    live.assert_same(model, state)
    assert router.tasks == ("dogs", "cats")
    assert router.at == ("first",)
    assert (router.top(router.features(model, inputs_of(2))) == 0).all()
    again = tvbank.vector_router(model, bank, ["dogs", "cats"])
    assert torch.equal(again.directions["first"], router.directions["first"])


def test_it_can_be_a_stage_before_a_fitted_router(tmp_path):
    model, _, bank = filled(tmp_path)
    examples = {name: inputs_of(number) for number, name in enumerate(NAMES)}
    deeper = tvbank.Router.fit(
        {name: tvbank.routing.features(model, x, at="second") for name, x in examples.items()},
        neighbours=3, at="second",
    )  # fmt: skip
    with tvbank.AutoSwitch(model, bank, [tvbank.vector_router(model, bank), deeper]) as auto:
        auto(torch.cat(list(examples.values())))
        assert list(auto.last.tasks) == [name for name in NAMES for _ in range(5)]


def test_the_largest_singular_values_are_found():
    chance = torch.Generator().manual_seed(0)
    thin = torch.randn(20, 3, generator=chance) @ torch.randn(3, 15, generator=chance)
    found = directions(thin, 8)
    assert found.shape == (8, 15)
    assert float(found.norm()) == pytest.approx(1)
    x = torch.randn(7, 15, generator=chance)
    wanted = (x @ thin.T).square().sum(1) / thin.square().sum()
    torch.testing.assert_close((x @ found.T).square().sum(1), wanted)
    assert not directions(torch.zeros(4, 5), 2).any()


class Flat(Tokens):
    """Rows of an odd number enter the last layer."""

    def forward(self, x):
        return self.head(self.first(x).reshape(-1, WIDTH)[:-1])


def test_what_cannot_be_told_is_refused(tmp_path):
    model, state, bank = filled(tmp_path)
    with pytest.raises(TaskNotFoundError, match="birds"):
        tvbank.vector_router(model, bank, ["cats", "birds"])
    with pytest.raises(UsageError, match="two tasks or more"):
        tvbank.vector_router(model, bank, ["cats"])
    with pytest.raises(UsageError, match="rank= is 1"):
        tvbank.vector_router(model, bank, rank=0)
    bank.add("shy", {**state, "first.bias": state["first.bias"] + 1}, tvbank.Exact())
    with pytest.raises(UsageError, match=r"'shy' changes no linear layer.*routing\.fit"):
        tvbank.vector_router(model, bank)
    live.assert_same(model, state)
    router = tvbank.vector_router(model, bank, NAMES)
    with pytest.raises(UsageError, match="no inputs"):
        router.features(model, torch.zeros(0, 2, WIDTH))
    with pytest.raises(UsageError, match="no module 'first'"):
        router.features(nn.Linear(WIDTH, 2), torch.zeros(2, WIDTH))
    with pytest.raises(UsageError, match="does not call 'first'"):
        router.features(model, torch.zeros(2, 3, WIDTH), forward=lambda m, x: m.second(x))
    with pytest.raises(UsageError, match="'first' is not called with rows"):
        router.features(model, torch.zeros(2, 3, WIDTH), forward=lambda m, x: m.first(input=x))
    with pytest.raises(NonFiniteError, match="NaN"):
        router.posterior(router.features(model, torch.full((2, 3, WIDTH), torch.nan)))
    with pytest.raises(UsageError, match=r"\[n, 3\]"):
        router.top(np.zeros((2, 4)))
    flat = Flat().eval()
    flat.load_state_dict(state)
    parts = {"head": torch.ones(3, 2, WIDTH)}
    with pytest.raises(UsageError, match="'head' is called with 5 rows for 2 examples"):
        VectorRouter(NAMES, parts).features(flat, torch.zeros(2, 3, WIDTH))


def test_weights_of_gpt2_are_read_the_other_way_round():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    state = live.state_of(model)
    bank = tvbank.create(live.MemoryStorage(), base=state)
    name = "transformer.h.0.mlp.c_fc"
    change = {task: 0.1 * torch.randn(8, 32) for task in ("cats", "dogs")}
    for task, more in change.items():
        bank.add(task, {**state, f"{name}.weight": state[f"{name}.weight"] + more}, tvbank.Exact())
    bank.add("headed", {**state, "score.weight": torch.randn(3, 8)}, tvbank.Exact())
    router = tvbank.vector_router(model, bank, change, rank=3)
    assert router.at == (name,)
    for parts, more in zip(router.directions[name], change.values(), strict=True):
        torch.testing.assert_close(parts.norm(), torch.tensor(1.0))
        torch.testing.assert_close(parts, directions(more.T, 3), atol=1e-4, rtol=1e-3)
    tokens = torch.arange(10).reshape(2, 5)
    assert router.features(model, {"input_ids": tokens}).shape == (2, 2)
    with pytest.raises(UsageError, match="'headed' changes no linear layer"):
        tvbank.vector_router(model, bank)
    live.assert_same(model, state)
