"""An AutoSwitch in place of a model in transformers' pipelines."""

import copy

import pytest
import tokenizers
import torch
import transformers
from transformers.utils import logging

import tvbank
from tvbank.errors import UsageError
from tvbank.storage import MemoryStorage

WORDS = ["<pad>", "<end>", *(f"low{n}" for n in range(14)), *(f"high{n}" for n in range(16))]
TASKS = ("low", "high")


@pytest.fixture(scope="module")
def tokenizer():
    words = {word: number for number, word in enumerate(WORDS)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )


def routed(model, tokenizer):
    """An AutoSwitch over a fine-tune for each kind of words, and those fine-tunes."""
    model.eval()
    with torch.no_grad():
        model.get_input_embeddings().weight[2:16] += 0.5
        model.get_input_embeddings().weight[16:] -= 0.5
    bank, tuned, found = tvbank.create(MemoryStorage(), model), {}, {}
    at = next(n for n, m in model.named_modules() if m is model.get_input_embeddings())
    for name in TASKS:
        tuned[name] = copy.deepcopy(model)
        with torch.no_grad():
            for parameter in tuned[name].parameters():
                parameter += 0.3 * torch.randn_like(parameter)
        bank.add(name, tuned[name], tvbank.Exact())
        ids = torch.tensor([tokenizer.encode(text(name, seed)) for seed in range(30)])
        found[name] = tvbank.routing.features(model, ids, at=at)
    bank.add_router("r", tvbank.Router.fit(found, at=at, reject=None))
    return tvbank.AutoSwitch(model, bank, "r", mode="top1"), tuned


def text(task, seed, words=4):
    return " ".join(f"{task}{(seed + 3 * n) % 14}" for n in range(words))


@pytest.fixture
def quiet():
    """transformers logs that it does not know the class of the model."""
    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    yield
    logging.set_verbosity(level)


def test_text_generation(tokenizer, quiet):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    auto, tuned = routed(transformers.LlamaForCausalLM(config), tokenizer)
    prompts = [text("low", 1), text("high", 2, words=2), text("low", 5)]
    options = {"max_new_tokens": 4, "do_sample": False}
    found = transformers.pipeline("text-generation", model=auto, tokenizer=tokenizer)(
        prompts, **options
    )
    together = transformers.pipeline(
        "text-generation", model=auto, tokenizer=tokenizer, batch_size=3
    )(prompts, **options)
    assert auto.last.tasks == ("low", "high", "low")
    for prompt, task, one, other in zip(prompts, ("low", "high", "low"), found, together,
                                        strict=True):  # fmt: skip
        told = transformers.pipeline("text-generation", model=tuned[task], tokenizer=tokenizer)
        assert one == other == told(prompt, **options)


def test_text_classification(tokenizer, quiet):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_labels=3, id2label={0: "a", 1: "b", 2: "c"},
    )  # fmt: skip
    auto, tuned = routed(transformers.BertForSequenceClassification(config), tokenizer)
    texts = [text(task, seed) for seed, task in enumerate((*TASKS, *TASKS))]
    found = transformers.pipeline(
        "text-classification", model=auto, tokenizer=tokenizer, batch_size=4
    )(texts)
    for one, answer, task in zip(texts, found, (*TASKS, *TASKS), strict=True):
        told = transformers.pipeline("text-classification", model=tuned[task], tokenizer=tokenizer)
        (wanted,) = told(one)
        assert answer["label"] == wanted["label"]
        assert answer["score"] == pytest.approx(wanted["score"], rel=1e-5)


def test_facts_are_the_models_own(tokenizer):
    model = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=len(WORDS), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
            num_attention_heads=2,
        )
    ).to(torch.bfloat16)  # fmt: skip
    auto, _ = routed(model, tokenizer)
    assert (auto.device, auto.dtype) == (torch.device("cpu"), torch.bfloat16)
    assert auto.config is model.config
    assert not auto.can_generate()
    assert auto.main_input_name == "input_ids"
    assert auto.to("cpu") is auto
    with pytest.raises(UsageError, match="close the AutoSwitch, move the model"):
        auto.to("meta")
    with pytest.raises(AttributeError, match="'AutoSwitch' object has no attribute 'half'"):
        auto.half()
