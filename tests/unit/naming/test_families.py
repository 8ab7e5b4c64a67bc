"""Every family of models people bring: by the names of its files and by those of its modules."""

import copy
import re

import families
import pytest
import torch
from families import assert_same, bits, check_switch
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.merging import export_merged

#: What weights and biases of norms were called.
OLD = {"weight": "gamma", "bias": "beta"}

#: Families that are also loaded in a wider type: one of each way in which names differ.
WIDE = ["llama", "qwen3_moe", "bert", "gpt_neox", "vit"]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_bank_of_a_folder(family, tmp_path):
    base = families.make(family)
    tuned = families.tuned(base)
    kind = type(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("exact", tmp_path / "tuned", tvbank.Exact())
    bank.add("lossy", tmp_path / "tuned", tvbank.TSwitch(drop=0.5))
    assert not bank["exact"].extras
    live = kind.from_pretrained(tmp_path / "base").eval()
    check_switch(live, bank, base, tuned)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_bank_of_a_module(family, tmp_path):
    base = families.make(family)
    tuned = families.tuned(base)
    bank = tvbank.create(tmp_path / "bank", base)
    bank.add("exact", tuned, tvbank.Exact())
    bank.add("lossy", tuned, tvbank.TSwitch(drop=0.5))
    assert not bank["exact"].extras
    check_switch(copy.deepcopy(base), bank, base, tuned)


def test_old_names_of_bert(tmp_path):
    base = families.make("bert")
    tuned = families.tuned(base)
    for which, model in (("base", base), ("tuned", tuned)):
        model.save_pretrained(tmp_path / which)
        file = tmp_path / which / "model.safetensors"
        old = {
            re.sub("LayerNorm.(weight|bias)$", lambda m: f"LayerNorm.{OLD[m[1]]}", name): weights
            for name, weights in load_file(file).items()
        }
        save_file(old, file, {"format": "pt"})
    for source in (tmp_path / "base", base):
        bank = tvbank.create(tmp_path / f"bank-{source == base}", source)
        for name, compressor in (("exact", tvbank.Exact()), ("lossy", tvbank.TSwitch(drop=0.5))):
            bank.add(name, tmp_path / "tuned", compressor)
        assert any(name.endswith("gamma") for name in bank.layout.by_name) == (source != base)
        check_switch(type(base).from_pretrained(tmp_path / "base").eval(), bank, base, tuned)


@pytest.mark.parametrize(
    ("family", "narrow"), [("llama", "float16"), *((family, "bfloat16") for family in WIDE)]
)
def test_a_model_in_float32_of_a_base_in_half_precision(family, narrow, tmp_path):
    dtype = getattr(torch, narrow)
    base = families.make(family).to(dtype)
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("exact", tmp_path / "tuned", tvbank.Exact())
    bank.add("lossy", tmp_path / "tuned", tvbank.TSwitch(drop=0.5))
    live = type(base).from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    before = bits(live)
    switch = tvbank.attach(live, bank)
    assert any(f"{narrow} in the bank and float32 in the model" in r for r in switch.remarks)
    for number, task in enumerate(("exact", "lossy", {"exact": 0.5, "lossy": 0.7})):
        switch.to(task)
        out = tmp_path / str(number)
        out.mkdir()
        if isinstance(task, str):
            tvbank.export(bank, task, out=out)
        else:
            export_merged(bank, task, out=out)
        wanted = type(base).from_pretrained(out, dtype=torch.float32)
        assert_same(live, bits(wanted))
    switch.off()
    assert_same(live, before)
    with torch.no_grad():
        next(weights for weights in live.parameters() if weights.ndim > 1).add_(1e-9)
    with pytest.raises(tvbank.errors.BaseMismatchError):
        switch.to("exact")
    switch.close(force=True)
    fine = type(base).from_pretrained(tmp_path / "base", dtype=torch.float32)
    with torch.no_grad():
        next(fine.parameters()).add_(1e-5)
    with pytest.raises(tvbank.errors.BaseMismatchError, match="other weights"):
        tvbank.attach(fine, bank)
