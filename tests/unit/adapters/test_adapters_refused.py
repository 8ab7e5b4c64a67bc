"""What is no adapter of this base, or none at all, is refused with the reason and the remedy."""

import json
import re

import numpy as np
import pytest
import torch
from adapted import BERT, GPT2, LLAMA, base_of, saved
from peft import LoraConfig
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.errors import CheckpointError, NonFiniteError, UnitMismatchError, UsageError

CONFIG = LoraConfig(r=2, target_modules=["q_proj"])
A = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.fixture
def folder(tmp_path):
    folder = saved(LLAMA, CONFIG, tmp_path)[0]
    edit(folder, base_model_name_or_path="someone/llama")
    return folder


@pytest.fixture
def bank(tmp_path):
    return tvbank.create(tmp_path / "bank", base=base_of(LLAMA))


def edit(folder, **members):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def retensor(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def refused(bank, folder, error, *words, **options):
    before = bank.storage.list()
    with pytest.raises(error) as caught:
        bank.add("t", folder, **options)
    message = str(caught.value)
    assert "adapter" in message
    for word in words:
        assert re.search(word, message), message
    assert [each.key for each in bank.storage.list()] == [each.key for each in before]


def test_of_another_base_by_names(folder, tmp_path):
    other = tvbank.create(tmp_path / "bert", base=base_of(BERT))
    refused(other, folder, UnitMismatchError, "lacks", "someone/llama", "q_proj")


def test_of_another_base_by_shapes(bank, folder):
    retensor(folder, lambda w: w.update({A: torch.zeros(2, 31)}))
    refused(bank, folder, UnitMismatchError, r"adds \[32, 31\]", r"\[32, 32\]", "someone/llama")


@pytest.mark.parametrize(
    "options", [{"missing": "base"}, {"names": {"a": "b"}}, {"given": {"scale": 1}}]
)
def test_what_is_of_other_fine_tunes(bank, folder, options):
    refused(bank, folder, UsageError, *options, "other fine-tunes", **options)


def test_of_a_quantised_base(folder, tmp_path):
    state = dict(base_of(LLAMA).state_dict())
    name = "model.layers.0.self_attn.q_proj.weight"
    quantised = tvbank.create(
        tmp_path / "q", base=state | {name: torch.zeros(512, 1, dtype=torch.uint8)}
    )
    refused(quantised, folder, UnitMismatchError, "quantised", "uint8")


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"peft_type": "PROMPT_TUNING"}, "PROMPT_TUNING cannot be added"),
        ({"peft_type": None}, "no peft_type"),
        ({"layer_replication": [[0, 2]]}, "repeats layers"),
        ({"alora_invocation_tokens": [1]}, "aLoRA"),
        ({"target_parameters": ["w"]}, "target_parameters"),
        ({"init_lora_weights": "pissa_niter_4"}, "path_initial_model"),
        ({"lora_alpha": "eight"}, "no number"),
        ({"alpha_pattern": {"(a+)+": 2}}, "safely"),
        ({"alpha_pattern": {"[": 2}}, "no pattern"),
        ({"alpha_pattern": 3}, "no object"),
    ],
)
def test_a_configuration_that_says_more(bank, folder, members, words):
    edit(folder, **members)
    refused(bank, folder, CheckpointError, words)


def test_a_configuration_that_is_none(bank, folder):
    (folder / "adapter_config.json").write_text("{")
    refused(bank, folder, CheckpointError, "no configuration")
    (folder / "adapter_config.json").write_text("[]")
    refused(bank, folder, CheckpointError, "no configuration")


def test_weights_that_are_missing_or_in_part(bank, folder):
    retensor(folder, lambda w: w.pop(A))
    refused(bank, folder, CheckpointError, "not both factors")
    (folder / "adapter_model.safetensors").unlink()
    refused(bank, folder, CheckpointError, "adapter_model.safetensors")


def test_factors_that_no_bank_holds(bank, folder):
    retensor(folder, lambda w: w.update({A: w[A].double()}))
    refused(bank, folder, CheckpointError, "float64", "convert")


def test_numbers_that_are_not_finite(bank, folder):
    retensor(folder, lambda w: w[A].fill_(float("nan")))
    refused(bank, folder, NonFiniteError, "NaN", "training failed")
    retensor(folder, lambda w: [weights.fill_(3e19) for weights in w.values()])
    refused(bank, folder, NonFiniteError, "too large", "q_proj")


def test_two_modules_that_the_base_ties(tmp_path):
    config = LoraConfig(r=2, target_modules=["wte", "lm_head"])
    folder, _ = saved(GPT2, config, tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(GPT2))
    refused(bank, folder, UnitMismatchError, "ties", "merge it")


def test_an_adapter_for_the_bare_model_fits_one_with_a_head(tmp_path):
    """Names without the prefix that the bank's have, and the other way round."""
    folder, _ = saved(BERT, LoraConfig(r=2, target_modules=["query"]), tmp_path)
    bare = {
        name.removeprefix("bert."): weights
        for name, weights in base_of(BERT).state_dict().items()
        if name.startswith("bert.")
    }
    task = tvbank.create(tmp_path / "bare", base=bare).add("t", folder)
    assert list(task.products) == ["encoder.layer.0.attention.self.query.weight"]
    wrapped = {f"model.{name}": weights for name, weights in base_of(BERT).state_dict().items()}
    task = tvbank.create(tmp_path / "wrapped", base=wrapped).add("t", folder)
    assert list(task.products) == ["model.bert.encoder.layer.0.attention.self.query.weight"]


def test_damage_of_a_factor_is_found(bank, folder):
    task = bank.add("t", folder)
    key = task.products.key
    data = bytearray(bank.storage.get(key))
    data[5] ^= 1
    bank.storage.put(key, bytes(data))
    reasons = {fault.reason for fault in bank.verify()}
    assert reasons == {"object-digest", "product-checksum"}
    with pytest.raises(tvbank.errors.CorruptionError, match="checksum") as caught:
        bank["t"][next(iter(task.products))].to_dense()
    assert caught.value.start == 0
    assert np.isfinite(caught.value.stop)
