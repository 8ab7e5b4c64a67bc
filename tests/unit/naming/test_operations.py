"""What transformers splits, permutes and transposes when it loads: one model an operation."""

import copy

import families
import pytest
import torch
import transformers as tf
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Chunk,
    Conv3dToLinear,
    Interleave,
    PermuteForRope,
    Split,
    Transpose,
    WeightConverter,
)

import tvbank

QKV = ["self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"]
MLP = ["mlp.gate_proj.weight", "mlp.up_proj.weight"]
ROPE = PermuteForRope(permute_layer_names=["q_proj", "k_proj"])

#: The file's name of a tensor of the first layer, and how the model's are made of it.
OPERATIONS = {
    "chunks": ("mlp.both.weight", MLP, [Chunk(0)]),
    "columns": ("mlp.both.weight", MLP, [Chunk(1)]),
    "of other sizes": ("self_attn.qkv.weight", QKV, [Split(0)]),
    "interleaved": ("mlp.both.weight", MLP, [Interleave(0), Chunk(0)]),
    "interleaved columns": ("mlp.both.weight", MLP, [Interleave(1), Chunk(1)]),
    "rotary rows": ("self_attn.wq.weight", QKV[0], [PermuteForRope()]),
    "rotary rows of chunks": ("self_attn.qkv.weight", QKV, [Chunk(0), ROPE]),
    "a square": ("self_attn.o.weight", "self_attn.o_proj.weight", [Transpose(0, 1)]),
    "a convolution": ("mlp.conv.weight", MLP[0], [Conv3dToLinear(4, (2, 1, 2))]),
}


class MovedLlama(tf.LlamaForCausalLM):
    """A Llama whose files have its weights otherwise."""


def moved(kind):
    file, model, operations = OPERATIONS[kind]
    table = [WeightConverter(file, copy.copy(model), operations)]
    register_checkpoint_conversion_mapping("MovedLlama", table, overwrite=True)
    heads = 1 if kind == "of other sizes" else 2
    torch.manual_seed(0)
    return MovedLlama(tf.LlamaConfig(**families.LM | {"num_key_value_heads": heads})).eval()


def check(base, tuned, folder, name=None):
    """From a folder and from a module, with a fine-tune of either kind: every bit, in and out."""
    kind = type(base)
    for which, model in (("base", base), ("tuned", tuned)):
        if not (folder / which).exists():
            model.save_pretrained(folder / which)
    sources = {"folder": (folder / "base", folder / "tuned"), "module": (base, tuned)}
    for here, (start, fine_tune) in sources.items():
        bank = tvbank.create(folder / f"{here}-bank", start)
        assert name is None or (name in bank.layout.by_name) == (here == "folder")
        for there, (_, other) in sources.items():
            bank.add(there, other, tvbank.Exact())
            assert not bank[there].extras
        bank.add("exact", fine_tune, tvbank.Exact())
        bank.add("lossy", fine_tune, tvbank.TSwitch(drop=0.5))
        assert bank["folder"].revision == bank["module"].revision
        live = kind.from_pretrained(folder / "base").eval()
        families.check_switch(live, bank, base, tuned)
        with tvbank.attach(live, bank)("lossy"):
            out = tvbank.export(bank, "lossy", out=f"{folder / here}-lossy/")
            families.assert_same(live, families.bits(kind.from_pretrained(out)))
        out = tvbank.export(bank, "exact", out=f"{folder / here}/")
        again, info = kind.from_pretrained(out, output_loading_info=True)
        assert not any(info.values())
        families.assert_same(again, families.bits(tuned))


@pytest.mark.parametrize("kind", OPERATIONS)
def test_every_operation_is_undone(kind, tmp_path):
    base = moved(kind)
    check(base, families.tuned(base), tmp_path, f"model.layers.0.{OPERATIONS[kind][0]}")
