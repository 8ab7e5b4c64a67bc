"""Adapters written out again: the very one that was added, or the nearest of a rank."""

import copy
import json
import sys

import numpy as np
import pytest
import torch
from adapted import BERT, CONV, GPT2, LLAMA, base_of, model_of, saved, strangers_warnings
from peft import LoraConfig, PeftModel
from safetensors.torch import load_file

import tvbank
from tvbank.errors import UsageError
from tvbank.merging import export_adapter

KINDS = [
    ("llama", LLAMA, {"target_modules": ["q_proj", "embed_tokens"]}),
    ("gpt2", GPT2, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    ("bert", BERT, {"target_modules": ["query"], "lora_bias": True,
                    "modules_to_save": ["classifier"]}),
    ("conv", CONV, {"target_modules": ["first", "point"], "use_rslora": True}),
]  # fmt: skip


def loaded(name, folder):
    """The model that PEFT makes of a base and a folder."""
    with strangers_warnings():
        return PeftModel.from_pretrained(copy.deepcopy(model_of(name)), folder).merge_and_unload()


@pytest.mark.parametrize(("name", "options"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS])
def test_an_adapter_comes_back_with_every_bit(name, options, tmp_path):
    folder, merged = saved(name, LoraConfig(r=3, lora_alpha=5, **options), tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(name))
    bank.add("t", folder)
    report = export_adapter(tmp_path / "bank", "t", out=tmp_path / "out")
    assert report.error == 0
    written = load_file(tmp_path / "out/adapter_model.safetensors")
    original = load_file(folder / "adapter_model.safetensors")
    base = {f"base_model.model.{name}" for name in base_of(name).state_dict()}
    copies = {key for key in original if key.replace(".base_layer.", ".") in base}
    assert written.keys() | copies == original.keys()
    for key, weights in written.items():
        assert torch.equal(weights, original[key]), key
    configs = [
        json.loads((f / "adapter_config.json").read_text()) for f in (tmp_path / "out", folder)
    ]
    assert configs[0] == configs[1]
    for key, weights in loaded(name, tmp_path / "out").state_dict().items():
        assert torch.equal(weights, merged[key]), key


@pytest.mark.parametrize("name", [LLAMA, GPT2, CONV])
def test_the_nearest_of_a_rank_says_its_error(name, tmp_path):
    base = base_of(name).state_dict()
    torch.manual_seed(3)
    tuned = {key: weights + 0.1 * torch.randn_like(weights) if weights.ndim > 1 else weights
             for key, weights in base.items()}  # fmt: skip
    if name == GPT2:
        tuned["lm_head.weight"] = tuned["transformer.wte.weight"]
    bank = tvbank.create(tmp_path / "bank", base=base_of(name))
    bank.add("t", tuned, tvbank.Exact(), base=base_of(name))
    report = export_adapter(bank, "t", out=tmp_path / "out", rank=4, base=base_of(name))
    assert report.left_out == ()
    near = loaded(name, tmp_path / "out").state_dict()
    lost = sum(float(((near[key] - tuned[key]).double() ** 2).sum()) for key in bank.layout.by_name)
    total = sum(
        float(((base[key] - tuned[key]).double() ** 2).sum()) for key in bank.layout.by_name
    )
    assert 0.1 < report.error < 1
    assert report.error == pytest.approx((lost / total) ** 0.5, rel=1e-4)


def test_of_full_rank_nothing_is_left_out_but_vectors(tmp_path):
    base = base_of(BERT).state_dict()
    tuned = {key: weights + 0.1 for key, weights in base.items()}
    bank = tvbank.create(tmp_path / "bank", base=base_of(BERT))
    bank.add("t", tuned, tvbank.Exact(), base=base_of(BERT))
    report = export_adapter(bank, "t", out=tmp_path / "out", rank=1, base=base_of(BERT))
    vectors = [u for u in bank.layout.units if len(u.shape) == 1]
    assert set(report.left_out) >= {unit.name for unit in vectors}
    share = sum(unit.size for unit in vectors) / bank.layout.parameters
    assert report.error == pytest.approx(share**0.5, rel=0.02)


def test_what_is_no_adapter_is_refused_without_a_rank(tmp_path):
    base = base_of(CONV).state_dict()
    bank = tvbank.create(tmp_path / "bank", base=base)
    bank.add("t", {k: v + 0.1 for k, v in base.items()}, tvbank.TSwitch(drop=0.5))
    with pytest.raises(UsageError, match=r"is no adapter.*--rank"):
        export_adapter(bank, "t", out=tmp_path / "out")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="exists"):
        export_adapter(bank, "t", out=tmp_path / "out", rank=2)
    with pytest.raises(UsageError, match="positive"):
        export_adapter(bank, "t", out=tmp_path / "other", rank=0)


def test_on_the_command_line(tmp_path, monkeypatch, capsys):
    from tvbank.cli import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tvbank", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out + printed.err

    model_of(LLAMA).save_pretrained(tmp_path / "base")
    folder, merged = saved(LLAMA, LoraConfig(r=3, target_modules=["q_proj"]), tmp_path)
    bank = tmp_path / "bank"
    assert run("init", bank, "--base", tmp_path / "base")[0] == 0
    status, said = run("add", bank, "cats", folder)
    assert (status, "adapter" in said) == (0, True)
    assert run("add", bank, "sparse", folder, "--method", "tswitch", "--drop", "0.5")[0] == 0
    assert "product" in run("show", bank, "cats")[1]
    assert "adapter" in run("ls", bank)[1]
    assert run("verify", bank)[0] == 0
    assert run("export", bank, "cats", "-o", tmp_path / "again", "--as", "peft")[0] == 0
    written = load_file(tmp_path / "again/adapter_model.safetensors")
    assert len(written) == 4
    status, said = run(
        "export", bank, "sparse", "-o", tmp_path / "near", "--as", "peft", "--rank", 2
    )
    assert (status, "leaves out is" in said) == (0, True)
    status, said = run("export", bank, "sparse", "-o", tmp_path / "x", "--as", "peft")
    assert (status, "no adapter" in said) == (1, True) or status == 2
    assert run("export", bank, "cats", "-o", tmp_path / "x", "--rank", 2)[0] == 2
    assert run("export", bank, "cats", "-o", tmp_path / "whole.safetensors")[0] == 0
    whole = load_file(tmp_path / "whole.safetensors")
    for key, weights in merged.items():
        np.testing.assert_allclose(whole[key], weights, rtol=0, atol=2e-6)
