"""FlexSwitch on models of sequences: masks, outputs, memory, and what inputs may be given as."""

import copy

import pytest
import small
import torch
from language import VOCABULARY, Language, inputs, learned
from torch.utils.data import DataLoader

import tvbank
from tvbank.errors import UsageError
from tvbank.flexswitch import _losses, _recompute, _teacher
from tvbank.flexswitch._inputs import examples_of
from tvbank.flexswitch._losses import compare, kl, mse


@pytest.fixture(scope="module")
def base():
    return Language()


def test_tokens_that_are_masked_do_not_count(base):
    other = inputs()
    other["input_ids"] = torch.where(other["attention_mask"] > 0, other["input_ids"], 5)
    assert learned(base) == learned(base, other)
    assert learned(base, mask=None) != learned(base, other, mask=None)


def test_another_name_of_the_mask(base):
    named = inputs()
    named["padding"] = named["attention_mask"]

    def run(model, batch):
        return model(batch["input_ids"], batch["attention_mask"])

    assert learned(base, named, forward=run, mask="padding") == learned(base)


@pytest.mark.parametrize("objective", ["paper", "bytes"])
def test_outputs_that_are_made_batch_by_batch(base, monkeypatch, objective):
    kept = learned(base, objective=objective)
    monkeypatch.setattr(_teacher, "KEPT", 0)
    assert learned(base, objective=objective) == kept


def test_activations_that_are_computed_again(base):
    assert _recompute.recompute_blocks(copy.deepcopy(base)) == 3
    assert learned(base, gradient_checkpointing=True) == learned(base)


def test_fewer_activations_are_kept(base):
    sizes = []
    for recompute in (False, True):
        model = copy.deepcopy(base)
        if recompute:
            _recompute.recompute_blocks(model)
        sizes.append(0)

        def keep(tensor):
            sizes[-1] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(**inputs())["logits"].sum().backward()
        assert model.blocks[0].mix.weight.grad is not None
    assert sizes[1] < 0.7 * sizes[0]


@pytest.mark.parametrize("loss", [kl, mse])
def test_a_loss_in_parts_is_the_loss(monkeypatch, loss):
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(37, 11, generator=generator, requires_grad=True)
    teacher = torch.randn(37, 11, generator=generator)
    whole = loss(student, teacher)
    (wanted,) = torch.autograd.grad(whole, student)
    monkeypatch.setattr(_losses, "_PART", 50)
    parts = compare(loss.__name__, student, teacher)
    (found,) = torch.autograd.grad(3 * parts, student)
    assert torch.allclose(parts, whole, rtol=1e-6)
    assert torch.allclose(found, 3 * wanted, rtol=1e-5, atol=1e-7)


def test_several_outputs(base):
    assert learned(base, outputs=["logits"]) == learned(base)
    both = learned(base, outputs={"logits": 1.0, "states": 0.5}, loss="mse")
    assert both != learned(base, outputs="logits", loss="mse")
    with pytest.raises(UsageError, match=r"no tensor called 'boxes' .*logits, states"):
        learned(base, outputs=["logits", "boxes"])
    with pytest.raises(UsageError, match="weights above 0, not 'logits': -1"):
        learned(base, outputs={"logits": -1})


def test_what_inputs_may_be_given_as():
    whole = inputs()
    rows = [
        {"input_ids": ids[mask > 0].tolist(), "label": 1, "text": "words"}
        for ids, mask in zip(whole["input_ids"], whole["attention_mask"], strict=True)
    ]
    tensors = [{name: tensor[n] for name, tensor in whole.items()} for n in range(24)]
    loader = DataLoader(tensors, batch_size=5)
    for given in (whole, rows, loader, tensors):
        made = examples_of(given)
        assert made.keys() == whole.keys()
        assert all(torch.equal(made[name], whole[name]) for name in whole)
    pixels = torch.randn(9, 3, 4, 4)
    pairs = torch.utils.data.TensorDataset(pixels, torch.arange(9))
    for given in (pairs, DataLoader(pairs, batch_size=4), list(pixels)):
        assert torch.equal(examples_of(given), pixels)


def test_texts():
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    words = {"[UNK]": 0, "</s>": 1, "a": 2, "cat": 3, "sat": 4}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>")
    made = examples_of(["a cat sat", "a cat"], tokenizer)
    assert made["input_ids"].tolist() == [[2, 3, 4], [2, 3, 1]]
    assert made["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert tokenizer.pad_token is None
    with pytest.raises(UsageError, match="give tokenizer="):
        examples_of(["a cat sat"])


def padding_alone():
    given = inputs()
    given["attention_mask"][4] = 0
    return given


def unknown_tokens():
    given = inputs()
    given["input_ids"][0, 0] = VOCABULARY
    return given


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (padding_alone, {}, "example 4 is padding alone"),
        (unknown_tokens, {}, f"the token {VOCABULARY} and the model knows {VOCABULARY}"),
        (inputs, {"mask": "words"}, "mask='words' names no input; there are 'input_ids'"),
        (
            inputs,
            {"forward": lambda m, x: m(**x)["logits"][:, :-1]},
            "has 7 tokens an example and the model gives 6 rows",
        ),
        (inputs, {"forward": lambda m, x: {"loss": torch.zeros(3)}}, "must return logits"),
        (inputs, {"outputs": []}, "outputs= is empty"),
        (lambda: ["words"], {}, "give tokenizer="),
        (lambda: 3, {}, "inputs must be a tensor"),
        (lambda: [{"input_ids": [1, 2]}, {"other": [3]}], {}, "inputs must be a tensor"),
    ],
)
def test_bad_sequences(base, given, options, says):
    with pytest.raises(UsageError, match=says):
        learned(base, given(), **options)


def test_a_language_model_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config).bfloat16().eval()
    tuned = small.tuned(model, size=2.0)
    ids = torch.randint(0, 64, (16, 9))
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    given = [{name: tensor[n] for name, tensor in given.items()} for n in range(16)]
    plain, flex = small.bank(model), small.bank(model)
    learnt = flex.add(
        "t",
        tuned,
        tvbank.FlexSwitch(
            model, given, steps=40, batch=8, lam=20.0, objective="bytes", budget="1 bits/param",
            gradient_checkpointing=True,
        ),
    )  # fmt: skip
    plain.add("t", tuned, tvbank.Budget("1 bits/param"))
    assert learnt.compressor["mask"] == "attention_mask"
    held = torch.randint(0, 64, (20, 9), generator=torch.Generator().manual_seed(5))

    def outcome(state):
        other = copy.deepcopy(model)
        other.load_state_dict(state)
        with torch.no_grad():
            return other(held).logits.float().flatten(0, 1)

    wanted = outcome(tuned)
    apart = [float(kl(outcome(bank.state_dict("t", base=model)), wanted)) for bank in (flex, plain)]
    assert apart[0] < apart[1]
    assert model.config.use_cache
