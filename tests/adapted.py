"""Tiny models, their adapters as PEFT saves them, and what ``merge_and_unload`` makes of them."""

import copy
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from functools import cache

import peft
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

import tvbank

LLAMA, GPT2, BERT, CONV, VIT = "llama", "gpt2", "bert", "conv", "vit"


@cache
def model_of(name: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """A tiny model with random weights; nobody changes it."""
    torch.manual_seed(0)
    if name == LLAMA:
        model: torch.nn.Module = LlamaForCausalLM(LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False,
        ))  # fmt: skip
    elif name == GPT2:
        model = GPT2LMHeadModel(
            GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=16)
        )
    elif name == BERT:
        model = BertForSequenceClassification(BertConfig(
            vocab_size=64, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=48, max_position_embeddings=16,
        ))  # fmt: skip
    elif name == VIT:
        model = ViTForImageClassification(ViTConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
            image_size=8, patch_size=4,
        ))  # fmt: skip
    else:
        layers = {"first": torch.nn.Conv2d(3, 8, 3), "second": torch.nn.Conv2d(8, 6, (1, 3)),
                  "point": torch.nn.Conv2d(6, 8, 1)}  # fmt: skip
        model = torch.nn.Sequential(OrderedDict(layers))
    return model.to(dtype).eval()


def base_of(name: str, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The base of a bank."""
    return model_of(name, dtype)


#: What PEFT and transformers say of each other's older names, and of models that are unusual.
_WARNINGS = (
    "Sparse invariant checks are implicitly disabled",
    "`is_gradient_checkpointing` is deprecated",
    "Unsupported layer type",
    "Setting `save_embedding_layers` to",
    "Adapter .default.: 1 LoRA tensor",
    "fan_in_fan_out is set to",
    "Specified to not save vera_A",
    "Input and output embeddings are no longer tied",
    "Model (has|with) `tie_word_embeddings=True`",
)


@contextmanager
def strangers_warnings():
    """Within, PEFT may warn of what is no business of ours."""
    with warnings.catch_warnings():
        for message in _WARNINGS:
            warnings.filterwarnings("ignore", message)
        yield


def adapted(name, config, dtype=torch.float32, seed=1):
    """A model with an adapter of random numbers."""
    base = copy.deepcopy(model_of(name, dtype))
    torch.manual_seed(seed)
    with strangers_warnings():
        model = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                noise = 0.1 * torch.randn_like(parameter)
                near_one = "magnitude" in key or "ia3" in key
                parameter.copy_(parameter * (1 + noise) if near_one else parameter + noise)
    return model.eval()


def saved(name, config, folder, dtype=torch.float32, seed=1):
    """An adapter with random numbers in a folder of its own, and the merged model's state dict."""
    model = adapted(name, config, dtype, seed)
    with strangers_warnings():
        model.save_pretrained(folder / "adapter")
        return folder / "adapter", model.merge_and_unload().state_dict()


def check_merged(bank, base, merged, tolerance=2e-6, task="t"):
    """Compare what is read back from a bank with the weights of a merged model."""
    state = tvbank.open(bank.location).state_dict(task, base=base)
    missing = merged.keys() - state.keys()
    assert not missing, missing
    for key, expected in merged.items():
        found, expected = state[key].double(), expected.double()
        assert found.shape == expected.shape, key
        error = (found - expected).abs().max() if found.numel() else 0
        assert error <= tolerance * max(1.0, float(expected.abs().max())), (key, error)
