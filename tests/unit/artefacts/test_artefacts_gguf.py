"""GGUF files: as base and fine-tune under their own names, and for a base that transformers wrote.

Files are written by the ``gguf`` package; what they stand for is read by transformers.
"""

import struct

import gguf
import numpy as np
import pytest
import torch
from artefacts import bits_of, restored
from safetensors.torch import save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import tvbank
from tvbank.checkpoint import open_checkpoint
from tvbank.errors import BaseMismatchError, CheckpointError, UnitMismatchError

TYPES = {
    torch.float32: None,
    torch.float16: None,
    torch.bfloat16: gguf.GGMLQuantizationType.BF16,
}


def write(path, architecture, tensors, **members):
    """A GGUF file of tensors under GGUF's names."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_pad_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_token_list([f"t{n}" for n in range(32)])
    for name, value in members.items():
        key = f"{architecture}.{name.replace('__', '.')}"
        (writer.add_float32 if isinstance(value, float) else writer.add_uint32)(key, value)
    for name, tensor in tensors.items():
        if tensor.dtype == torch.bfloat16:
            data = tensor.contiguous().view(torch.int16).numpy().view(np.uint8)
            writer.add_tensor(name, data, raw_dtype=TYPES[tensor.dtype])
        else:
            writer.add_tensor(name, tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def matrices(dtype, seed=0):
    torch.manual_seed(seed)
    return {
        "token_embd.weight": torch.randn(32, 8).to(dtype),
        "blk.0.ffn_up.weight": torch.randn(16, 8).to(dtype),
        "output_norm.weight": torch.randn(8),
    }


@pytest.mark.parametrize("dtype", TYPES)
def test_base_and_fine_tune_under_their_own_names(tmp_path, dtype):
    base, step = matrices(dtype), matrices(dtype, seed=1)
    tuned = {name: (w.float() + 0.1 * step[name].float()).to(w.dtype) for name, w in base.items()}
    old = write(tmp_path / "base.gguf", "llama", base, block_count=1)
    new = write(tmp_path / "tuned.gguf", "llama", tuned, block_count=1)
    with open_checkpoint(old) as checkpoint:
        assert bits_of({n: checkpoint.read(n) for n in checkpoint.tensors}) == bits_of(base)
    assert bits_of(restored(old, new)) == bits_of(tuned)
    found = tvbank.inspect(new)
    assert (found.kind, found.facts["general.architecture"]) == ("gguf", "llama")
    assert len(found.how) == 2


def paired(weights, heads):
    """Rows as llama.cpp has them: those that are rotated together beside each other."""
    rows = weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
    return rows.swapaxes(1, 2).reshape(weights.shape)


SMALL = {
    "vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 24, "max_position_embeddings": 32,
}  # fmt: skip
MEMBERS = {
    "block_count": 2, "context_length": 32, "embedding_length": 16, "feed_forward_length": 24,
    "attention__head_count": 4, "attention__head_count_kv": 2,
    "attention__layer_norm_rms_epsilon": 1e-6, "vocab_size": 32,
}  # fmt: skip


def model_of(architecture):
    torch.manual_seed(3)
    if architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**SMALL, tie_word_embeddings=False))
    if architecture == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**SMALL, tie_word_embeddings=False))
    if architecture == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**SMALL, head_dim=128, tie_word_embeddings=False))
    if architecture == "phi3":
        return Phi3ForCausalLM(Phi3Config(**SMALL, pad_token_id=0, bos_token_id=1, eos_token_id=2))
    if architecture == "gemma2":
        return Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=4))
    if architecture == "gemma3":
        return Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=4))
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=4))


def converted(architecture, state, tied):
    """The tensors of a model as llama.cpp's converter names and turns them."""
    arch = {name: kind for kind, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    table = gguf.get_tensor_name_map(arch, 2)
    tensors = {}
    for name, weights in state.items():
        if tied and name == "lm_head.weight":
            continue
        stem, _, end = name.rpartition(".")
        own = f"{table.get_name(stem)}.{end}"
        if architecture == "llama" and "_proj" in name and ("q_proj" in name or "k_proj" in name):
            weights = paired(weights, 4 if "q_proj" in name else 2)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            weights = weights + 1
        parts = name.split(".")
        if architecture == "gpt2" and weights.ndim == 2 and parts[-2].startswith("c_"):
            weights = weights.T
        tensors[own] = weights
    return tensors


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2"]
)
def test_a_fine_tune_in_gguf_of_a_base_that_transformers_wrote(tmp_path, architecture):
    model = model_of(architecture)
    model.save_pretrained(tmp_path / "base")
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.01 * torch.randn(weights.shape)
    tied = model.config.tie_word_embeddings
    tensors = converted(architecture, model.state_dict(), tied)
    wide = {"attention__key_length": 4} if architecture.startswith("gemma") else {}
    members = MEMBERS | wide
    write(tmp_path / "tuned.gguf", architecture, tensors, **members)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tuned.gguf").state_dict()
    got = restored(tmp_path / "base", tmp_path / "tuned.gguf")
    expected = {name: theirs[name] for name in got}
    assert bits_of(got) == bits_of(expected)
    assert set(theirs) - set(got) <= {"lm_head.weight"}
    if not architecture.startswith("gemma"):  # there x + 1 - 1 rounds
        assert bits_of(got) == bits_of({n: model.state_dict()[n] for n in got})


@pytest.mark.parametrize("kind", ["folder", "module", "state dict"])
@pytest.mark.parametrize(
    "architecture", ["llama", "qwen2", "qwen3", "phi3", "gemma2", "gemma3", "gpt2"]
)
def test_a_fine_tune_that_transformers_wrote_of_a_base_in_gguf(tmp_path, architecture, kind):
    model = model_of(architecture)
    tied = model.config.tie_word_embeddings
    freqs = {"rope_freqs.weight": torch.ones(2)}
    base = converted(architecture, model.state_dict(), tied) | freqs
    write(tmp_path / "base.gguf", architecture, base, **MEMBERS)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.01 * torch.randn(weights.shape)
    expected = converted(architecture, model.state_dict(), tied) | freqs
    tuned = {"folder": tmp_path / "tuned", "module": model, "state dict": model.state_dict()}
    model.save_pretrained(tmp_path / "tuned")
    got = restored(tmp_path / "base.gguf", tuned[kind])
    assert bits_of(got) == bits_of(expected)
    if kind == "module":
        bank = tvbank.create(tmp_path / "bank", tmp_path / "base.gguf")
        with pytest.raises(BaseMismatchError, match=r"base is a GGUF file.*base=model"):
            tvbank.attach(model, bank)


def test_a_fine_tune_of_a_base_in_gguf_that_is_not_known(tmp_path):
    write(tmp_path / "bert.gguf", "bert", matrices(torch.float32), block_count=1)
    with pytest.raises(CheckpointError, match=r"architecture 'bert'.*convert it to safetensors"):
        restored(tmp_path / "bert.gguf", model_of("llama"))
    write(tmp_path / "llama.gguf", "llama", matrices(torch.float32), block_count=1)
    with pytest.raises(UnitMismatchError, match=r"blk\.0\.ffn_up\.weight"):
        restored(tmp_path / "llama.gguf", {"model.embed_tokens.weight": torch.ones(32, 8)})


def test_a_gguf_file_that_does_not_fit(tmp_path):
    base = {"model.embed_tokens.weight": torch.randn(32, 8), "model.norm.weight": torch.ones(8)}
    save_file(base, tmp_path / "base.safetensors")
    tuned = matrices(torch.float32)
    write(tmp_path / "llama.gguf", "llama", tuned, block_count=1)
    with pytest.raises(UnitMismatchError, match=r"blk\.0\.ffn_up\.weight"):
        restored(tmp_path / "base.safetensors", tmp_path / "llama.gguf")
    write(tmp_path / "bert.gguf", "bert", tuned, block_count=1)
    with pytest.raises(CheckpointError, match="architecture 'bert'"):
        restored(tmp_path / "base.safetensors", tmp_path / "bert.gguf")
    write(tmp_path / "blocks.gguf", "llama", tuned, block_count=10**9)
    with pytest.raises(CheckpointError, match="1000000000 blocks"):
        restored(tmp_path / "base.safetensors", tmp_path / "blocks.gguf")


def test_quantised_files_and_adapters_are_refused(tmp_path):
    path = tmp_path / "q.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    data = gguf.quants.quantize(np.ones((4, 64), np.float32), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match=r"quantised \(Q8_0.*f32, f16 or bf16"):
        open_checkpoint(path)
    found = tvbank.inspect(path)
    assert (found.title, found.how) == ("a quantised GGUF file", ())
    assert "Q8_0" in found.remark
    adapter = gguf.GGUFWriter(tmp_path / "lora.gguf", "llama")
    adapter.add_type("adapter")
    adapter.add_tensor("blk.0.attn_q.weight.lora_a", np.ones((2, 8), np.float32))
    adapter.write_header_to_file()
    adapter.write_kv_data_to_file()
    adapter.write_tensors_to_file()
    adapter.close()
    assert tvbank.inspect(tmp_path / "lora.gguf").kind == "adapter"
    assert "with alpha None" in tvbank.inspect(tmp_path / "lora.gguf").remark
    with pytest.raises(CheckpointError, match="'adapter'"):
        open_checkpoint(tmp_path / "lora.gguf")


def test_damaged_gguf_files(tmp_path):
    path = write(tmp_path / "t.gguf", "llama", matrices(torch.float32), block_count=1)
    sound = path.read_bytes()

    def refused(data):
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            open_checkpoint(path)
        return str(caught.value)

    for length in (4, 10, 30, 100, 300, len(sound) // 2, len(sound) - 40):
        assert "truncated" in refused(sound[:length])
    huge = struct.pack("<Q", 2**63)
    assert "tensors" in refused(sound[:8] + huge + sound[16:])
    assert "members" in refused(sound[:16] + huge + sound[24:])
    assert "truncated" in refused(sound[:24] + huge + sound[32:])
    assert "version" in refused(sound[:4] + b"\0\0\0\3" + sound[8:])
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"k"
    for array in ((8, 2**62), (0, 2**62), (9, 2)):
        assert "damaged" in refused(head + struct.pack("<IIQ", 9, *array) + bytes(64))
    assert "alignment" in refused(
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 17) + b"general.alignment"
        + struct.pack("<II", 4, 3) + bytes(64)
    )  # fmt: skip
