"""LoRA in GGUF over a base in GGUF: what llama.cpp adds when it loads both."""

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

import tvbank
from tvbank.errors import CheckpointError, UnitMismatchError

RNG = np.random.default_rng(0)
SHAPES = {"token_embd.weight": (11, 8), "blk.0.attn_q.weight": (6, 8), "output.weight": (11, 8)}


def write(path, tensors, *, kind="model", **members):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type(kind)
    for name, value in members.items():
        key = name.replace("__", ".")
        (writer.add_string if isinstance(value, str) else writer.add_float32)(key, value)
    for name, array in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def made(tmp_path):
    base = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}
    write(tmp_path / "base.gguf", base)
    drawn = lambda *shape: RNG.standard_normal(shape).astype(np.float16)  # noqa: E731
    factors = {
        "blk.0.attn_q.weight.lora_a": drawn(2, 8), "blk.0.attn_q.weight.lora_b": drawn(6, 2),
        "token_embd.weight.lora_a": drawn(11, 3), "token_embd.weight.lora_b": drawn(8, 3),
    }  # fmt: skip
    said = {"adapter__type": "lora", "adapter__lora__alpha": 6.0}
    write(tmp_path / "lora.gguf", factors, kind="adapter", **said)
    return tmp_path, base, {name: array.astype(np.float32) for name, array in factors.items()}


def test_it_is_kept_as_products_and_adds_what_llama_cpp_adds(made):
    folder, base, factors = made
    bank = tvbank.create(folder / "bank", folder / "base.gguf")
    task = bank.add("cats", folder / "lora.gguf")
    assert task.compressor == {"name": "adapter", "kind": "lora"}
    assert set(task.products) == {"blk.0.attn_q.weight", "token_embd.weight"}
    state = load_file(tvbank.export(bank, "cats", out=folder / "out.safetensors"))
    q, embedding = "blk.0.attn_q.weight", "token_embd.weight"
    added = {
        q: 6 / 2 * (factors[f"{q}.lora_b"] @ factors[f"{q}.lora_a"]),
        embedding: 6 / 3 * (factors[f"{embedding}.lora_a"] @ factors[f"{embedding}.lora_b"].T),
    }
    for name, array in base.items():
        np.testing.assert_allclose(state[name], array + added.get(name, 0), rtol=1e-6, atol=1e-6)
    report = tvbank.export_adapter(bank, "cats", out=folder / "peft")
    assert report.modules == 2
    again = tvbank.create(folder / "again", folder / "base.gguf").add("cats", folder / "peft")
    for name, dense in task.to_dense().items():
        assert (again.to_dense()[name] == dense).all()
    bank.add("small", folder / "lora.gguf", tvbank.Exact())
    assert not bank["small"].products


def test_inspect_says_how_to_add_it(made):
    folder, _, _ = made
    found = tvbank.inspect(folder / "lora.gguf")
    assert (found.kind, found.title, len(found.tensors)) == ("adapter", "an adapter in GGUF", 4)
    assert found.how == [f"tvbank add BANK NAME {folder / 'lora.gguf'}"]


def test_what_it_does_not_fit_is_refused(made):
    folder, base, factors = made
    other = tvbank.create(folder / "other", {"model.q_proj.weight": base["blk.0.attn_q.weight"]})
    with pytest.raises(UnitMismatchError, match=r"lora\.gguf is an adapter in GGUF.*base in GGUF"):
        other.add("cats", folder / "lora.gguf")
    bank = tvbank.create(folder / "bank", folder / "base.gguf")
    said = {"adapter__type": "lora", "adapter__lora__alpha": 6.0}
    wide = factors | {"blk.0.attn_q.weight.lora_a": np.ones((2, 9), np.float32)}
    bad = write(folder / "wide.gguf", wide, kind="adapter", **said)
    with pytest.raises(UnitMismatchError, match=r"\[6, 9\] to 'blk\.0\.attn_q\.weight'"):
        bank.add("cats", bad)
    for members, tensors, match in (
        ({}, factors, "alpha None"),
        (said | {"adapter__type": "control"}, factors, "kind 'control'"),
        (said, {"blk.0.attn_q.weight": base["blk.0.attn_q.weight"]}, "no factor of LoRA"),
    ):
        bad = write(folder / "bad.gguf", tensors, kind="adapter", **members)
        with pytest.raises(CheckpointError, match=match):
            bank.add("cats", bad)
    assert list(bank) == []
