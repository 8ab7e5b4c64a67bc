"""From the names of a model's parameters, peft's among them, to the units of a bank."""

import families
import peft
import pytest
import torch
from safetensors.torch import load_file

import tvbank
from tvbank.checkpoint import borrow_checkpoint
from tvbank.naming import units_of


def found(bank, names, base):
    with borrow_checkpoint(base) as checkpoint:
        return units_of(bank.layout, names, checkpoint)


@pytest.mark.parametrize("source", ["folder", "module"])
@pytest.mark.parametrize("family", ["llama", "vit", "qwen3_moe", "gpt_neox", "llava", "gpt2"])
def test_every_parameter_is_made_of_units(family, source, tmp_path):
    model = families.make(family)
    model.save_pretrained(tmp_path / "base")
    base = tmp_path / "base" if source == "folder" else model
    bank = tvbank.create(tmp_path / "bank", base)
    weights = load_file(tmp_path / "base" / "model.safetensors")
    weights = weights if source == "folder" else dict(model.state_dict())
    parameters = dict(model.named_parameters())
    units = found(bank, parameters, base)
    assert units.keys() == parameters.keys()
    for name, parameter in parameters.items():
        made = torch.full_like(parameter, torch.nan).detach()
        for unit, window in units[name]:
            place = made if window is None else window.of_tensor(made)
            place.copy_(weights[unit])
        assert torch.equal(made, parameter)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("family", ["llama", "vit"])
def test_what_peft_has_wrapped_is_found(family, tmp_path):
    model = families.make(family)
    model.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    wrapped = peft.get_peft_model(model, config)
    names = [name for name, _ in wrapped.named_parameters() if "base_layer.weight" in name]
    assert len(names) == 2
    units = found(bank, [*names, "base_model.model.nothing.weight"], tmp_path / "base")
    assert units.keys() == set(names)
    weights = load_file(tmp_path / "base" / "model.safetensors")
    for name in names:
        ((unit, window),) = units[name]
        assert window is None
        assert torch.equal(wrapped.get_parameter(name), weights[unit])


def test_a_prefix_on_either_side_is_found(tmp_path):
    base = {f"layer.{n}.weight": torch.ones(3, 2) for n in range(2)}
    bank = tvbank.create(tmp_path / "bank", base)
    names = [f"base_model.model.bert.layer.{n}.base_layer.weight" for n in range(2)]
    units = found(bank, names, base)
    assert [units[name] for name in names] == [
        (("layer.0.weight", None),),
        (("layer.1.weight", None),),
    ]
