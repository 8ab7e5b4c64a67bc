"""Adapters in a manifest: the same tasks that ``add`` makes of them."""

import json
import shutil

import numpy as np
import pytest
from adapted import BERT, LLAMA, base_of, check_merged, saved
from peft import IA3Config, LoraConfig
from safetensors.torch import save_model
from servers import FileServer

import tvbank

LORA = LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "down_proj"])


@pytest.fixture
def made(tmp_path):
    """A base in a file, a folder of a LoRA adapter, and what merging it makes."""
    save_model(base_of(LLAMA), str(tmp_path / "base.safetensors"))
    folder, merged = saved(LLAMA, LORA, tmp_path)
    return tmp_path, folder, merged


def build(folder, tasks, **more):
    place = {"bank": str(folder / "bank"), "base": str(folder / "base.safetensors")}
    return tvbank.build({**place, "tasks": tasks, **more}, workers=1)


def same(one, other):
    return all(
        np.array_equal(one[name].to_dense(), other[name].to_dense()) for name in (*one, *other)
    )


def test_an_adapter_is_built_as_it_is_added(made):
    folder, adapter, merged = made
    tasks = {
        "kept": {"checkpoint": str(adapter), "metadata": {"labels": ["a"]}},
        "small": {"checkpoint": str(adapter), "budget": "60 %"},
        "dense": {"checkpoint": str(adapter), "method": "exact"},
        "lossy": {"checkpoint": str(adapter), "method": "tswitch"},
        "step": {"checkpoint": str(adapter), "parent": "start"},
        "start": {"checkpoint": str(folder / "base.safetensors"), "method": "exact"},
    }
    assert not build(folder, tasks).failed
    bank = tvbank.open(folder / "bank")
    bank.add("a-kept", adapter, metadata={"labels": ["a"]})
    bank.add("a-small", adapter, tvbank.Budget("60 %"))
    bank.add("a-dense", adapter, tvbank.Exact())
    bank.add("a-lossy", adapter, tvbank.TSwitch())
    bank.add("a-step", adapter, parent="start")
    for name in tasks.keys() - {"start"}:
        assert same(bank[name], bank[f"a-{name}"]), name
        assert bank[name].compressor == bank[f"a-{name}"].compressor
    assert bank["step"].revision == bank["a-step"].revision
    assert same(bank["step"], bank["dense"])
    assert bank["kept"].products
    assert bank["small"].products
    assert bank["kept"].metadata == {"labels": ["a"]}
    assert not bank["dense"].products
    assert bank.verify() == []
    check_merged(bank, base_of(LLAMA), merged, task="kept")
    check_merged(bank, base_of(LLAMA), merged, task="dense")
    again = build(folder, tasks)
    assert not again.failed
    assert sorted(again.present) == sorted(tasks)


def test_another_kind_and_what_is_refused(tmp_path):
    save_model(base_of(BERT), str(tmp_path / "base.safetensors"))
    config = IA3Config(target_modules=["key"], feedforward_modules=[])
    adapter, merged = saved(BERT, config, tmp_path)
    tasks = {
        "ia3": {"checkpoint": str(adapter), "method": "exact"},
        "named": {"checkpoint": str(adapter), "names": {"a": "b"}},
    }
    done = build(tmp_path, tasks)
    assert "says itself what it changes: names" in done.failed["named"]
    check_merged(tvbank.open(tmp_path / "bank"), base_of(BERT), merged, task="ia3")


def test_an_adapter_under_a_url(made):
    folder, adapter, merged = made
    shutil.copytree(adapter, folder / "served" / "cats")
    with FileServer(folder / "served") as server:
        url = f"{server.url}/cats"
        assert not build(folder, {"built": {"checkpoint": url}}).failed
        bank = tvbank.open(folder / "bank")
        bank.add("added", url)
        bank.add("file", f"{url}/adapter_model.safetensors")
        (folder / "served/cats/adapter_model.safetensors").unlink()
        with pytest.raises(tvbank.TvbankError, match=r"adapter_model\.safetensors"):
            bank.add("gone", url)
    for name in ("built", "added", "file"):
        assert bank[name].products, name
        check_merged(bank, base_of(LLAMA), merged, task=name)


def test_inspect_says_no_base_where_there_is_none(made):
    _, adapter, _ = made
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "base" not in tvbank.inspect(adapter).facts
    config["base_model_name_or_path"] = "org/base"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert tvbank.inspect(adapter).facts["base"] == "org/base"
