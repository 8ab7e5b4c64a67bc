"""What transformers splits, permutes and transposes when it loads: one model an operation."""

import copy

import families
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file
from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import (
    Chunk,
    Concatenate,
    Conv3dToLinear,
    Interleave,
    PermuteForRope,
    Split,
    Transpose,
    WeightConverter,
)

import tvbank
from tools.conversions import SUPPORTED, operations

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


SWIGLU = {name: value for name, value in families.VISION.items() if name != "intermediate_size"}


def ernie():
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    text = {**families.LM, "moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": [12, 8],
            "mlp_layer_types": ["sparse"], "rope_parameters": rope}  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2,
              "patch_size": 4}  # fmt: skip
    config = tf.Ernie4_5_VLMoeConfig(text_config=text, vision_config=vision)
    return tf.Ernie4_5_VLMoeForConditionalGeneration(config)


#: A tensor of a file that several of the model's are made of, or one with other sides.
MODELS = {
    "nomic_bert": (
        "encoder.layers.0.attn.Wqkv.weight",
        lambda: tf.NomicBertModel(tf.NomicBertConfig(**families.ENCODER)),
    ),
    "gte": (
        "encoder.layer.0.attention.qkv_proj.bias",
        lambda: tf.GteModel(tf.GteConfig(**families.ENCODER)),
    ),
    "jina_embeddings_v3": (
        "encoder.layers.0.mixer.Wqkv.bias",
        lambda: tf.JinaEmbeddingsV3Model(tf.JinaEmbeddingsV3Config(**families.ENCODER)),
    ),
    "dinov2": (
        "encoder.layer.0.mlp.weights_in.weight",
        lambda: tf.Dinov2Model(tf.Dinov2Config(**SWIGLU, use_swiglu_ffn=True)),
    ),
    "molmo2": (
        "layers.0.self_attn.att_proj.weight",
        lambda: tf.Molmo2TextModel(tf.Molmo2TextConfig(**families.LM, head_dim=8)),
    ),
    "ernie4_5_vl_moe": ("model.layers.0.mlp.gate.weight_1", ernie),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_that_are_split(kind, tmp_path):
    name, make = MODELS[kind]
    torch.manual_seed(0)
    base = make().eval()
    check(base, families.tuned(base), tmp_path, name)


def test_what_is_transposed_only_where_shapes_say_so(tmp_path):
    """As experts of Qwen3-VL-MoE: older files have them the other way round, but for squares."""
    names = ["mlp.up_proj.weight", "self_attn.q_proj.weight"]
    table = [WeightConverter(n, n, [Transpose(0, 1, check_dims=True)]) for n in names]
    register_checkpoint_conversion_mapping("MovedLlama", table, overwrite=True)
    torch.manual_seed(0)
    base = MovedLlama(tf.LlamaConfig(**families.LM)).eval()
    tuned = families.tuned(base)
    for which, model in (("base", base), ("tuned", tuned)):
        model.save_pretrained(tmp_path / which)
        file = tmp_path / which / "model.safetensors"
        turned = {n: t.T.contiguous() if "up_proj" in n else t for n, t in load_file(file).items()}
        save_file(turned, file, {"format": "pt"})
    check(base, tuned, tmp_path)


def test_two_tensors_of_other_sizes_that_become_one(tmp_path):
    table = [WeightConverter(["wte.old", "wte.new"], "embed_tokens.weight", [Concatenate(0)])]
    register_checkpoint_conversion_mapping("MovedLlama", table, overwrite=True)
    torch.manual_seed(0)
    base = MovedLlama(tf.LlamaConfig(**families.LM)).eval()
    tuned = families.tuned(base)
    base.config.architectures = tuned.config.architectures = ["MovedLlama"]
    for which, model in (("base", base), ("tuned", tuned)):
        state = dict(model.state_dict())
        embedding = state.pop("model.embed_tokens.weight")
        state |= {"model.wte.old": embedding[:40].clone(), "model.wte.new": embedding[40:].clone()}
        model.config.save_pretrained(tmp_path / which)
        model.generation_config.save_pretrained(tmp_path / which)
        save_file(state, tmp_path / which / "model.safetensors", {"format": "pt"})
    check(base, tuned, tmp_path, "model.wte.new")


def test_every_operation_of_the_installed_tables_is_among_those_tested():
    used = {name for names in operations().values() for name in names}
    assert used <= SUPPORTED
    tested = {type(each).__name__ for _, _, made in OPERATIONS.values() for each in made}
    others = {"MergeModulelist", "Concatenate", "ErnieFuseAndSplitTextVisionExperts"}
    assert tested | others == SUPPORTED  # a stack, a fusion and Ernie have tests of their own
