"""Units that a task keeps whole: swapped with it, and back."""

import live
import pytest
import torch
from torch import nn

import tvbank
from tvbank.errors import CorruptionError, NonFiniteError, UnitMismatchError, UsageError


class Classifier(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(10, 6)
        self.body = nn.Linear(6, 6)
        self.head = nn.Linear(6, classes)

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens)))


def base_of(model):
    return {n: t for n, t in live.state_of(model).items() if not n.startswith("head")}


def with_head(state, classes, seed=1, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    head = nn.Linear(6, classes, dtype=dtype)
    tuned = live.fine_tune(state, seed)
    tuned["head.weight"] = torch.randn(classes, 6, generator=generator).to(dtype)
    tuned["head.bias"] = torch.randn(classes, generator=generator).to(head.bias.dtype)
    return tuned


def test_a_head_of_the_same_shape_is_written_into_the_tensor_that_is_there():
    model = Classifier()
    state = base_of(model)
    tuned = with_head(state, 3)
    switch = tvbank.attach(model, live.bank_of(state, {"a": tuned}))
    before, parameter = live.bits(model), model.head.weight
    address = parameter.data_ptr()
    switch.to("a-exact")
    live.assert_same(model, tuned)
    assert model.head.weight is parameter
    assert parameter.data_ptr() == address
    switch.off()
    live.assert_same(model, before)
    assert switch.unused == ()


def test_a_head_of_another_shape_is_exchanged_and_the_layer_knows_its_size():
    model = Classifier()
    state = base_of(model)
    tunes = {"five": with_head(state, 5), "seven": with_head(state, 7, 2)}
    switch = tvbank.attach(model, live.bank_of(state, tunes))
    before = live.bits(model)
    parameters = dict(model.named_parameters())
    for name, classes in (("five", 5), ("seven", 7), ("five", 5)):
        switch.to(f"{name}-exact")
        live.assert_same(model, tunes[name])
        assert model.head.out_features == classes
        assert model.head.weight.requires_grad
        assert isinstance(model.head.weight, nn.Parameter)
        assert model(torch.tensor([1, 2])).shape == (2, classes)
    switch.off()
    live.assert_same(model, before)
    assert model.head.out_features == 3
    assert all(parameters[name] is p for name, p in model.named_parameters())


def test_heads_of_both_kinds_in_turn():
    model = Classifier()
    state = base_of(model)
    tunes = {"same": with_head(state, 3), "other": with_head(state, 4, 2)}
    switch = tvbank.attach(model, live.bank_of(state, tunes))
    before = live.bits(model)
    for name in ("same", "other", "same", "other"):
        switch.to(f"{name}-exact")
        live.assert_same(model, tunes[name])
    switch.off()
    live.assert_same(model, before)


def test_a_head_that_the_model_lacks_is_left_alone_and_listed():
    model = nn.Module()
    model.body = nn.Linear(6, 6)
    state = live.state_of(model)
    tuned = live.fine_tune(state) | {"head.weight": torch.ones(3, 6)}
    switch = tvbank.attach(model, live.bank_of(state, {"a": tuned}))
    switch.to("a")
    assert switch.unused == ("head.weight",)
    switch.to({"a": 1.0})
    assert switch.unused == ()
    switch.off()
    assert switch.unused == ()


def test_a_sum_keeps_the_heads_of_the_base_unless_one_is_named():
    model = Classifier()
    state = base_of(model)
    tunes = {"a": with_head(state, 3), "b": with_head(state, 5, 2)}
    bank = live.bank_of(state, tunes)
    switch = tvbank.attach(model, bank)
    before = live.bits(model)
    weights = {"a": 0.5, "b": 0.5}
    switch.to(weights)
    merged = tvbank.merge(bank, weights, base=state)
    live.assert_same(model, merged)
    assert torch.equal(live.bits(model)["head.weight"], before["head.weight"])
    switch.to(weights, heads="b")
    live.assert_same(model, merged)
    assert torch.equal(model.head.weight, tunes["b"]["head.weight"])
    assert switch.active == weights
    switch.to({}, heads="a")
    live.assert_same(model, state)
    assert torch.equal(model.head.weight, tunes["a"]["head.weight"])
    with switch("a", heads="b"):
        assert model.head.out_features == 5
    assert model.head.out_features == 3
    switch.off()
    live.assert_same(model, before)


def test_a_resized_embedding_takes_along_what_is_tied_to_it():
    torch.manual_seed(0)
    model = live.Tied()
    state = live.state_of(model)
    tuned = live.fine_tune(state)
    tuned["embed.weight"] = tuned["unembed.weight"] = torch.randn(44, 16)
    bank = live.bank_of(state, {"a": tuned}, replace_mismatched=True)
    switch = tvbank.attach(model, bank)
    before = model.embed.weight
    switch.to("a-exact")
    live.assert_same(model, tuned)
    assert model.unembed.weight is model.embed.weight
    assert model.embed.num_embeddings == model.unembed.out_features == 44
    with pytest.raises(UnitMismatchError, match=r"keeps unit 'embed\.weight' whole"):
        switch.to({"a": 0.5})
    live.assert_same(model, tuned)
    switch.off()
    live.assert_same(model, state)
    assert model.unembed.weight is model.embed.weight is before
    assert model.embed.num_embeddings == 40


def test_a_name_that_the_task_unties_gets_memory_of_its_own():
    torch.manual_seed(0)
    model = live.Tied()
    state = live.state_of(model)
    tuned = live.fine_tune(state)
    tuned["unembed.weight"] = torch.randn(40, 16)
    bank = live.bank_of(state, {"a": tuned}, replace_mismatched=True)
    switch = tvbank.attach(model, bank)
    switch.to("a-exact")
    live.assert_same(model, tuned)
    assert model.unembed.weight is not model.embed.weight
    switch.off()
    live.assert_same(model, state)
    assert model.unembed.weight is model.embed.weight


def test_a_head_in_another_float_type_is_rounded_to_the_models():
    model = Classifier()
    state = base_of(model)
    tuned = with_head(state, 3, dtype=torch.float64)
    switch = tvbank.attach(model, live.bank_of(state, {"a": tuned}))
    switch.to("a")
    assert torch.equal(model.head.weight, tuned["head.weight"].float())
    tuned["head.weight"][0, 0] = 1e300
    switch = tvbank.attach(Classifier(), live.bank_of(state, {"a": tuned}))
    with pytest.raises(NonFiniteError, match=r"head\.weight"):
        switch.to("a")


def test_a_buffer_of_another_kind_is_refused():
    model = nn.Module()
    model.register_buffer("steps", torch.arange(3))
    state = live.state_of(model)
    switch = tvbank.attach(model, live.bank_of(state, {"a": {"steps": torch.ones(3)}}))
    with pytest.raises(UnitMismatchError, match=r"torch\.float32, which cannot take the place"):
        switch.to("a")
    live.assert_same(model, state)


def test_a_replaced_head_is_noticed():
    model = Classifier()
    state = base_of(model)
    switch = tvbank.attach(model, live.bank_of(state, {"a": with_head(state, 5)}))
    switch.to("a")
    model.head.weight = nn.Parameter(torch.zeros(5, 6))
    with pytest.raises(UsageError, match=r"'head\.weight' of the model was replaced"):
        switch.off()


def test_damage_to_a_head_leaves_what_was_there():
    model = Classifier()
    state = base_of(model)
    storage = live.MemoryStorage()
    bank = live.bank_of(
        state, {"a": with_head(state, 5), "b": with_head(state, 3, 2)}, storage=storage
    )
    key = next(o.key for o in storage.list("tasks/a/") if "/extras/0/c" in o.key)
    storage.put(key, storage.get(key)[:-1] + b"?")
    switch = tvbank.attach(model, bank)
    switch.to("b")
    before = live.bits(model)
    with pytest.raises(CorruptionError, match="extra"):
        switch.to("a")
    live.assert_same(model, before)
    assert switch.active == "b"
