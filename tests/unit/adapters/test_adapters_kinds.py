"""Every kind of adapter against ``merge_and_unload``: written to a bank, and read back from it."""

import copy

import peft
import pytest
import torch
from adapted import (
    BERT,
    CONV,
    GPT2,
    LLAMA,
    VIT,
    base_of,
    check_merged,
    model_of,
    saved,
    strangers_warnings,
)
from peft import (
    IA3Config,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    ShiraConfig,
    VeraConfig,
)

import tvbank


def drawn_again(**options):
    """VeRA without its projections."""
    with strangers_warnings():
        return VeraConfig(save_projection=False, **options)


LORA = [
    ("plain", LLAMA, {"target_modules": ["q_proj", "v_proj", "down_proj"]}),
    ("rslora", LLAMA, {"target_modules": ["q_proj"], "use_rslora": True}),
    ("patterns", LLAMA, {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 2},
                         "alpha_pattern": {"layers.0.self_attn.q_proj": 3.5, "v_proj": 7}}),
    ("conv1d", GPT2, {"target_modules": ["c_attn", "c_proj", "c_fc"], "fan_in_fan_out": True}),
    ("embedding", LLAMA, {"target_modules": ["embed_tokens", "q_proj"]}),
    ("bias", BERT, {"target_modules": ["query"], "lora_bias": True}),
    ("whole", BERT, {"target_modules": ["value"], "modules_to_save": ["classifier"]}),
    ("biases", BERT, {"target_modules": ["value"], "bias": "all"}),
    ("conv2d", CONV, {"target_modules": ["first", "second", "point"]}),
]  # fmt: skip

DENSE = [
    ("dora", LLAMA, LoraConfig(r=4, use_dora=True, target_modules=["q_proj", "down_proj"])),
    ("dora of conv1d", GPT2, LoraConfig(r=4, use_dora=True, fan_in_fan_out=True,
                                        target_modules=["c_attn", "c_proj"])),
    ("dora of conv2d", CONV, LoraConfig(r=4, use_dora=True, target_modules=["first", "point"])),
    ("dora of embedding", LLAMA, LoraConfig(r=4, use_dora=True, target_modules=["embed_tokens"])),
    ("tokens", LLAMA, LoraConfig(r=4, target_modules=["q_proj"],
                                 trainable_token_indices={"embed_tokens": [3, 60]})),
    ("ia3", BERT, IA3Config(target_modules=["key", "intermediate.dense"],
                            feedforward_modules=["intermediate.dense"])),
    ("ia3 of conv1d", GPT2, IA3Config(target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True,
                                      feedforward_modules=["mlp.c_proj"])),
    ("vera", LLAMA, VeraConfig(r=4, target_modules=["q_proj", "down_proj"])),
    ("vera drawn again", LLAMA, drawn_again(r=4, target_modules=["q_proj", "down_proj"],
                                            projection_prng_key=2**31)),
    ("vera of conv1d", GPT2, drawn_again(r=3, target_modules=["c_attn"], fan_in_fan_out=True)),
    ("coft", LLAMA, OFTConfig(oft_block_size=8, r=0, target_modules=["q_proj"], coft=True,
                              eps=0.05)),
    ("oft", LLAMA, OFTConfig(oft_block_size=8, r=0, target_modules=["q_proj", "down_proj"])),
    ("oft solved", LLAMA, OFTConfig(oft_block_size=8, r=0, target_modules=["q_proj"],
                                    use_cayley_neumann=False, block_share=True)),
    ("loha", LLAMA, LoHaConfig(r=4, alpha=6, target_modules=["q_proj", "down_proj"])),
    ("loha of conv2d", CONV, LoHaConfig(r=4, target_modules=["first"], use_effective_conv2d=True)),
    ("lokr", LLAMA, LoKrConfig(r=2, alpha=3, target_modules=["q_proj", "down_proj"])),
    ("lokr of both", LLAMA, LoKrConfig(r=1, decompose_both=True, target_modules=["q_proj"])),
    ("shira", LLAMA, ShiraConfig(r=2, target_modules=["q_proj", "down_proj"], random_seed=1)),
    ("lokr of conv2d", CONV, LoKrConfig(r=1, target_modules=["first"], use_effective_conv2d=True)),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options"), [c[1:] for c in LORA], ids=[c[0] for c in LORA])
def test_lora_is_kept_as_it_is(model, options, tmp_path):
    folder, merged = saved(model, LoraConfig(r=4, lora_alpha=6, **options), tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(model))
    task = bank.add("t", folder)
    assert task.products
    check_merged(bank, base_of(model), merged)


def test_tuned_norms_are_kept_whole(tmp_path):
    folder, merged = saved(BERT, LNTuningConfig(target_modules=["output.LayerNorm"]), tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(BERT))
    task = bank.add("t", folder)
    assert len(task.extras) == 4
    assert not task.products
    check_merged(bank, base_of(BERT), merged, tolerance=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lora_of_half_precision_differs_by_one_rounding(dtype, tmp_path):
    config = LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"])
    folder, merged = saved(LLAMA, config, tmp_path, dtype)
    bank = tvbank.create(tmp_path / "bank", base=base_of(LLAMA, dtype))
    task = bank.add("t", folder)
    assert {task.products.record(unit).dtype for unit in task.products} == {str(dtype)[6:]}
    check_merged(bank, base_of(LLAMA, dtype), merged, tolerance=3 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("model", "config"), [c[1:] for c in DENSE], ids=[c[0] for c in DENSE])
def test_others_become_what_they_add(model, config, tmp_path):
    folder, merged = saved(model, config, tmp_path)
    bank = tvbank.create(tmp_path / "bank", base=base_of(model))
    task = bank.add("t", folder, tvbank.Exact())
    assert not task.products
    check_merged(bank, base_of(model), merged)


def test_the_list_of_kinds_is_the_one_of_peft():
    """What is refused is refused by name: all of PEFT's kinds are known or named."""
    from tvbank.adapters._config import KINDS

    assert set(KINDS) < {kind.value for kind in peft.PeftType}


def test_names_that_transformers_changed_are_found(tmp_path):
    """The bank is of a folder, whose names are other than those of the live model."""
    model = model_of(VIT)
    model.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", base=tmp_path / "base")
    live = dict(model.named_parameters())
    assert not live.keys() <= bank.layout.by_name.keys()
    folder, merged = saved(VIT, LoraConfig(r=2, target_modules=["q_proj", "fc1"]), tmp_path)
    bank.add("t", folder)
    switched = copy.deepcopy(model)
    with tvbank.attach(switched, bank)("t"):
        for name, weights in switched.state_dict().items():
            torch.testing.assert_close(weights, merged[name], rtol=0, atol=2e-6)
