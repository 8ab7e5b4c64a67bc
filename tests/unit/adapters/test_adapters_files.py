"""LoRA in one file: what diffusers writes, and what it converts to kohya's names."""

import copy

import pytest
import torch
from adapted import strangers_warnings
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_kohya
from peft import LoraConfig, get_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.errors import CheckpointError, UnitMismatchError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A tiny UNet, its adapter as diffusers saves it, and the merged weights."""
    place = tmp_path_factory.mktemp("unet")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=4,
        block_out_channels=(8, 16), cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    tuned = copy.deepcopy(unet)
    with strangers_warnings():
        tuned.add_adapter(LoraConfig(r=4, lora_alpha=8, target_modules=["to_q", "to_v", "conv1"]))
        for name, parameter in tuned.named_parameters():
            if "lora" in name:
                parameter.data.add_(0.1 * torch.randn_like(parameter))
        layers = get_peft_model_state_dict(tuned)
        StableDiffusionPipeline.save_lora_weights(place / "plain", unet_lora_layers=layers)
        StableDiffusionPipeline.save_lora_weights(
            place / "said", unet_lora_layers=layers,
            unet_lora_adapter_metadata={"r": 4, "lora_alpha": 8},
        )  # fmt: skip
    merged = {}
    for alpha in (4, 8):  # a file that does not say has alpha = r
        other = copy.deepcopy(tuned)
        for layer in other.modules():
            if isinstance(layer, BaseTunerLayer):
                layer.set_scale("default", alpha / 8)
                layer.merge()
        state = {k.replace(".base_layer", ""): v for k, v in other.state_dict().items()}
        merged[alpha] = {k: v for k, v in state.items() if "lora" not in k}
    return place, unet, merged


def check(unet, source, expected, folder, **extras):
    bank = tvbank.create(folder / "bank", base=unet)
    task = bank.add("t", source)
    assert len(task.products) == sum(not torch.equal(v, unet.state_dict()[k])
                                     for k, v in expected.items())  # fmt: skip
    state = bank.state_dict("t", base=unet)
    assert state.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(state[name], weights, rtol=0, atol=2e-6)
    return task


@pytest.mark.parametrize(("kind", "alpha"), [("plain", 4), ("said", 8)])
def test_diffusers(made, kind, alpha, tmp_path):
    place, unet, merged = made
    task = check(unet, place / kind, merged[alpha], tmp_path)
    assert task.remarks == ()


def kohya(place):
    weights = load_file(place / "plain/pytorch_lora_weights.safetensors")
    bare = {name.removeprefix("unet."): tensor for name, tensor in weights.items()}
    with strangers_warnings():
        found = convert_state_dict_to_kohya(bare)
    return {f"lora_unet_{name.removeprefix('lora_unet_')}": tensor.contiguous()
            for name, tensor in found.items()}  # fmt: skip


def test_kohya_with_the_factors_of_another_model(made, tmp_path):
    place, unet, merged = made
    weights = kohya(place)
    modules = {name.partition(".")[0] for name in weights}
    weights |= {f"{module}.alpha": torch.tensor(8.0) for module in modules}
    weights["lora_te_text_model_x_q_proj.lora_down.weight"] = torch.ones(4, 8)
    weights["lora_te_text_model_x_q_proj.lora_up.weight"] = torch.ones(8, 4)
    save_file(weights, tmp_path / "kohya.safetensors")
    task = check(unet, tmp_path / "kohya.safetensors", merged[8], tmp_path)
    assert task.remarks == ("1 modules of the adapter are of other models, and left out",)
    report = tvbank.export_adapter(tmp_path / "bank", "t", out=tmp_path / "out")
    assert report.modules == len(modules)
    written = load_file(tmp_path / "out/adapter_model.safetensors")
    assert len(written) == 2 * len(modules)


def test_what_is_not_known_or_not_of_this_base_is_refused(made, tmp_path):
    place, unet, _ = made
    bank = tvbank.create(tmp_path / "bank", base=unet)
    weights = kohya(place)
    save_file(
        weights | {"lora_unet_x.lora_mid.weight": torch.ones(1)}, tmp_path / "mid.safetensors"
    )
    with pytest.raises(CheckpointError, match="lora_mid"):
        bank.add("t", tmp_path / "mid.safetensors")
    save_file(weights | {"lora_unet_x.alpha": torch.ones(1)}, tmp_path / "x.safetensors")
    save_file({k: v for k, v in weights.items() if k.endswith("up.weight")},
              tmp_path / "half.safetensors")  # fmt: skip
    with pytest.raises(CheckpointError, match="not both factors"):
        bank.add("t", tmp_path / "half.safetensors")
    other = {"lora_unet_x.lora_down.weight": torch.ones(1, 2),
             "lora_unet_x.lora_up.weight": torch.ones(2, 1)}  # fmt: skip
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(UnitMismatchError, match=r"does not fit the base.*lora_unet_x"):
        bank.add("t", tmp_path / "other.safetensors")
    assert list(bank) == []
