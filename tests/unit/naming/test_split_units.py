"""Units that live in several parameters, through everything that writes to a model."""

import json

import families
import pytest
import torch
from safetensors.torch import save_file
from test_operations import moved

import tvbank
from tvbank.errors import UnitMismatchError
from tvbank.merging import export_merged

QKV = "model.layers.0.self_attn.qkv.weight"
KIND = "rotary rows of chunks"


@pytest.fixture
def made(tmp_path):
    """A base whose q, k and v are one unit, q and k in another order of rows; and its bank."""
    base = moved(KIND)
    base.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    assert QKV in bank.layout.by_name
    return base, bank, tmp_path


def written(bank, out, kind, tasks, **options):
    """The model of an exported folder."""
    if isinstance(tasks, str):
        tvbank.export(bank, tasks, out=f"{out}/")
    else:
        export_merged(bank, tasks, out=f"{out}/")
    return kind.from_pretrained(out, **options).eval()


def states(live, bank, folder, tasks, **options):
    """A live model in each of some states is what the exported folder is; then the base again."""
    before = families.bits(live)
    switch = tvbank.attach(live, bank)
    assert len(switch.names_of(QKV)) == 3
    for number, task in enumerate(tasks):
        switch.to(task)
        wanted = written(bank, folder / str(number), type(live), task, **options)
        families.assert_same(live, families.bits(wanted))
    switch.close()
    families.assert_same(live, before)


def lora(folder, module, rows):
    """A LoRA adapter of one module of 16 columns, as PEFT writes it."""
    folder.mkdir()
    torch.manual_seed(5)
    stem = f"base_model.model.{module}.lora_"
    factors = {f"{stem}A.weight": torch.randn(2, 16), f"{stem}B.weight": torch.randn(rows, 2)}
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [module]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_sums_products_and_what_is_kept_whole(made):
    base, bank, folder = made
    bank.add("exact", families.tuned(base), tvbank.Exact())
    bank.add("lossy", families.tuned(base, seed=2), tvbank.TSwitch(drop=0.5))
    bank.add("product", lora(folder / "lora", QKV.removesuffix(".weight"), 48))
    assert QKV in bank["product"].products
    with pytest.warns(UserWarning, match="kept whole, since they are float16"):
        bank.add("whole", families.tuned(base, seed=3).half(), tvbank.Exact())
    assert QKV in bank["whole"].extras
    sums = {"exact": 0.5, "lossy": 0.25}, {"lossy": 0.5, "product": 0.5}
    states(base, bank, folder, ["exact", "lossy", "product", *sums])
    with tvbank.attach(base, bank)("whole"):
        wanted = families.tuned(moved(KIND), seed=3).half().float()
        families.assert_same(base, families.bits(wanted))
    families.assert_same(base, families.bits(moved(KIND)))


def test_a_model_in_a_wider_type(tmp_path):
    base = moved(KIND).bfloat16()
    base.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("exact", families.tuned(base), tvbank.Exact())
    bank.add("lossy", families.tuned(base, seed=2), tvbank.TSwitch(drop=0.5))
    live = type(base).from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    tasks = ["exact", "lossy", {"exact": 0.5, "lossy": 0.7}]
    states(live, bank, tmp_path, tasks, dtype=torch.float32)


def test_a_write_by_others_to_any_of_the_parameters_is_noticed(made):
    base, bank, _ = made
    bank.add("t", families.tuned(base), tvbank.Exact())
    attention = base.model.layers[0].self_attn
    for parameter in (attention.q_proj.weight, attention.v_proj.weight):
        switch = tvbank.attach(base, bank)
        with torch.no_grad():
            kept = parameter.clone()
            parameter.add_(1)
        with pytest.raises(tvbank.errors.BaseMismatchError, match="qkv"):
            switch.to("t")
        with torch.no_grad():
            parameter.copy_(kept)
        switch.to("t")
        switch.close()


def test_flexswitch_learns_on_it(made):
    base, bank, folder = made
    families.tuned(base).save_pretrained(folder / "tuned")
    inputs = {"input_ids": torch.randint(3, 40, (8, 4))}
    learned = tvbank.FlexSwitch(
        base, inputs, steps=2, batch=8, forward=lambda model, x: model(**x).logits[:, -1]
    )
    assert bank.add("t", folder / "tuned", learned)[QKV].to_dense().any()


def test_an_adapter_of_a_part_of_it_says_what_to_do(made):
    _, bank, folder = made
    adapter = lora(folder / "lora", "model.layers.0.self_attn.q_proj", 16)
    with pytest.raises(UnitMismatchError, match=r"q_proj.*part of a tensor.*merge_and_unload"):
        bank.add("t", adapter)
