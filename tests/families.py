"""Tiny random models of many families, as their own libraries write and load them."""

import copy
import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers as tf

import tvbank

tf.utils.logging.set_verbosity_error()
tf.utils.logging.disable_progress_bar()

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ENCODER = {
    "vocab_size": 48,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
LM = ENCODER | TOKENS | {"num_key_value_heads": 1}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 8,
    "patch_size": 4,
    "num_channels": 3,
}
#: Encoder and decoder, as BART and Whisper call their sides.
BOTH = TOKENS | {
    "vocab_size": 48,
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "decoder_start_token_id": 1,
}


def _qwen3_moe():
    experts = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 12}
    return tf.Qwen3MoeForCausalLM(tf.Qwen3MoeConfig(**LM, **experts, head_dim=8))


def _gemma3_images():
    text = tf.Gemma3TextConfig(**LM, head_dim=8, sliding_window=8)
    vision = tf.SiglipVisionConfig(**VISION)
    config = tf.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return tf.Gemma3ForConditionalGeneration(config)


def _gpt2():
    sizes = {"vocab_size": 48, "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 32}
    return tf.GPT2LMHeadModel(tf.GPT2Config(**sizes, **TOKENS))


def _mamba():
    sizes = {"hidden_size": 16, "state_size": 4, "num_hidden_layers": 1, "time_step_rank": 2}
    return tf.MambaForCausalLM(tf.MambaConfig(vocab_size=48, **sizes, **TOKENS))


def _deberta():
    options = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}
    return tf.DebertaV2ForSequenceClassification(tf.DebertaV2Config(**ENCODER, **options))


def _modernbert():
    options = {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 8}
    return tf.ModernBertForMaskedLM(tf.ModernBertConfig(**ENCODER, **options))


def _clip():
    text = tf.CLIPTextConfig(**ENCODER, projection_dim=8, bos_token_id=1, eos_token_id=2)
    vision = tf.CLIPVisionConfig(**VISION, projection_dim=8)
    return tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))


def _siglip():
    text = tf.SiglipTextConfig(**ENCODER, projection_size=16)
    config = tf.SiglipConfig(text_config=text, vision_config=tf.SiglipVisionConfig(**VISION))
    return tf.SiglipModel(config)


def _llava():
    parts = {"text_config": tf.LlamaConfig(**LM), "vision_config": tf.CLIPVisionConfig(**VISION)}
    return tf.LlavaForConditionalGeneration(tf.LlavaConfig(**parts, image_token_index=40))


def _qwen2_vl():
    text = {**LM, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}}
    vision = {"depth": 1, "embed_dim": 16, "num_heads": 2, "hidden_size": 16, "patch_size": 4}
    config = tf.Qwen2VLConfig(text_config=text, vision_config=vision)
    return tf.Qwen2VLForConditionalGeneration(config)


def _whisper():
    sizes = {"num_mel_bins": 8, "max_source_positions": 16, "max_target_positions": 16}
    return tf.WhisperForConditionalGeneration(tf.WhisperConfig(**BOTH, **sizes))


def _t5():
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
    return tf.T5ForConditionalGeneration(tf.T5Config(vocab_size=48, **sizes, **tokens))


def _bart():
    return tf.BartForConditionalGeneration(tf.BartConfig(**BOTH, max_position_embeddings=32))


def _resnet():
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1]}
    return tf.ResNetForImageClassification(tf.ResNetConfig(**sizes, layer_type="basic"))


FAMILIES = {
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**LM)),
    "qwen2": lambda: tf.Qwen2ForCausalLM(tf.Qwen2Config(**LM, tie_word_embeddings=True)),
    "qwen3_moe": _qwen3_moe,
    "mixtral": lambda: tf.MixtralForCausalLM(tf.MixtralConfig(**LM, num_local_experts=12)),
    "gemma3": lambda: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**LM, head_dim=8)),
    "gemma3_images": _gemma3_images,
    "gpt2": _gpt2,
    "gpt_neox": lambda: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**(ENCODER | TOKENS))),
    "phi3": lambda: tf.Phi3ForCausalLM(tf.Phi3Config(**LM)),
    "mamba": _mamba,
    "bert": lambda: tf.BertForMaskedLM(tf.BertConfig(**ENCODER)),
    "deberta": _deberta,
    "modernbert": _modernbert,
    "vit": lambda: tf.ViTForImageClassification(tf.ViTConfig(**VISION)),
    "clip": _clip,
    "clip_vision": lambda: tf.CLIPVisionModel(tf.CLIPVisionConfig(**VISION)),
    "siglip": _siglip,
    "llava": _llava,
    "qwen2_vl": _qwen2_vl,
    "whisper": _whisper,
    "t5": _t5,
    "bart": _bart,
    "resnet": _resnet,
}


def make(family):
    """A tiny model of a family, in evaluation mode; the same at every call."""
    torch.manual_seed(0)
    return FAMILIES[family]().eval()


def tuned(model, seed=1):
    """A copy of a model whose every parameter has moved a little."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_((0.01 * noise).to(parameter.dtype))
    return other.eval()


def generated(model):
    """What a language model says to a short prompt; ``None`` of other models."""
    if not (hasattr(model, "can_generate") and model.can_generate()):
        return None
    ids = torch.arange(3, 9)[None]
    options = {"max_new_tokens": 4, "do_sample": False}
    with torch.no_grad():
        if model.main_input_name == "input_features":  # sound
            sound = torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32)
            return model.generate(sound, **options)
        return model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **options)


def bits(model):
    """Every bit of a model's state."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    return {name: tensor.contiguous().view(-1).view(torch.uint8) for name, tensor in state.items()}


def assert_same(model, expected):
    now = bits(model)
    assert now.keys() == expected.keys()
    different = [name for name in now if not torch.equal(now[name], expected[name])]
    assert not different


def check_switch(live, bank, base, tuned):
    """Every bit of the fine-tune, what it says, and every bit of the base again."""
    tied = {name: tensor.data_ptr() for name, tensor in live.state_dict().items()}
    switch = tvbank.attach(live, bank)
    with switch("exact"):
        assert_same(live, bits(tuned))
        said, wanted = generated(live), generated(tuned)
        assert said is None or torch.equal(said, wanted)
        assert {name: t.data_ptr() for name, t in live.state_dict().items()} == tied
    assert_same(live, bits(base))
    switch.to({"exact": 0.5, "lossy": 0.25})
    assert any(not torch.equal(now, bits(base)[name]) for name, now in bits(live).items())
    switch.close()
    assert_same(live, bits(base))
