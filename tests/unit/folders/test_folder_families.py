"""Tasks of many families come out as folders that their libraries load, to the same bits."""

import copy
import json
import os

import families
import pytest
import torch

import tvbank

IDS = torch.arange(3, 9)[None]
PIXELS = torch.linspace(-1, 1, 3 * 8 * 8).reshape(1, 3, 8, 8)
INPUTS = {
    "vit": {"pixel_values": PIXELS},
    "clip_vision": {"pixel_values": PIXELS},
    "resnet": {"pixel_values": torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)},
    "clip": {"input_ids": IDS, "pixel_values": PIXELS},
    "siglip": {"input_ids": IDS, "pixel_values": PIXELS},
    "whisper": {
        "input_features": torch.linspace(-1, 1, 8 * 32).reshape(1, 8, 32),
        "decoder_input_ids": IDS,
    },
    "t5": {"input_ids": IDS, "decoder_input_ids": IDS},
}


def tensors(output):
    """All tensors of an output, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, dict):
        output = tuple(output.values())
    parts = output if isinstance(output, tuple | list) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def outputs(model, inputs):
    with torch.no_grad():
        return tensors(model(**inputs))


def same(left, right):
    return len(left) == len(right) > 0 and all(map(torch.equal, left, right))


def config(folder):
    return json.loads((folder / "config.json").read_text())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_from_pretrained_loads_a_task_of_a_folder_and_of_a_module(family, tmp_path):
    model = families.make(family)
    tuned = families.tuned(model)
    expected = outputs(tuned, INPUTS.get(family, {"input_ids": IDS}))
    model.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    sources = {"folder": (tmp_path / "base", tmp_path / "tuned"), "module": (model, tuned)}
    for kind, (base, fine_tune) in sources.items():
        bank = tvbank.create(tmp_path / f"{kind}-bank", base)
        assert bank.add("t", fine_tune, tvbank.Exact()).metadata == {}
        out = tvbank.export(bank, "t", out=f"{tmp_path / kind}/")
        loaded, info = type(model).from_pretrained(out, output_loading_info=True)
        assert not any(info.values())
        assert same(outputs(loaded.eval(), INPUTS.get(family, {"input_ids": IDS})), expected)
        larger = (out / "model.safetensors").stat().st_size
        assert larger < 1.03 * (tmp_path / "tuned" / "model.safetensors").stat().st_size
    assert config(tmp_path / "folder") == config(tmp_path / "tuned")
    if (tmp_path / "tuned" / "generation_config.json").exists():
        assert (tmp_path / "folder" / "generation_config.json").exists()


def test_a_diffusers_unet(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    sizes = {"block_out_channels": (8, 8), "norm_num_groups": 4, "cross_attention_dim": 8,
             "attention_head_dim": 4, "sample_size": 8, "layers_per_block": 1}  # fmt: skip
    torch.manual_seed(0)
    model = diffusers.UNet2DConditionModel(
        **sizes, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    ).eval()  # fmt: skip
    tuned = families.tuned(model)
    inputs = {"sample": torch.ones(1, 4, 8, 8), "timestep": 1,
              "encoder_hidden_states": torch.ones(1, 2, 8)}  # fmt: skip
    expected = outputs(tuned, inputs)
    model.save_pretrained(tmp_path / "base")
    for kind, base in (("folder", tmp_path / "base"), ("module", model)):
        bank = tvbank.create(tmp_path / f"{kind}-bank", base)
        bank.add("t", tuned, tvbank.Exact())
        for size in ("5GB", "50 kB"):
            place = f"{tmp_path / kind}-{size[-2:]}/"
            out = tvbank.export(bank, "t", out=place, max_shard_size=size)
            loaded = diffusers.UNet2DConditionModel.from_pretrained(out)
            assert same(outputs(loaded.eval(), inputs), expected)
    assert len(list(out.glob("diffusion_pytorch_model-*-of-*.safetensors"))) > 1


def test_a_sentence_transformer(tmp_path):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.sentence_transformer import modules as models
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as kinds
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = {word: n for n, word in enumerate(["[PAD]", "[UNK]", "a", "small", "text"])}
    tokenizer = Tokenizer(kinds.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    )
    torch.manual_seed(0)
    encoder = BertModel(BertConfig(**{**families.ENCODER, "vocab_size": 5}))
    encoder.save_pretrained(tmp_path / "encoder")
    wrapped.save_pretrained(tmp_path / "encoder")
    transformer = models.Transformer(str(tmp_path / "encoder"))
    parts = [transformer, models.Pooling(16), models.Dense(16, 4), models.Normalize()]
    base = sentence_transformers.SentenceTransformer(modules=parts, device="cpu")
    base.save(str(tmp_path / "base"))
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        for parameter in tuned[0].parameters():
            parameter.mul_(1.01)
    tuned.save(str(tmp_path / "tuned"))
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("t", tmp_path / "tuned", tvbank.Exact())
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    loaded = sentence_transformers.SentenceTransformer(str(out), device="cpu")
    texts = ["a small text", "small", "another text"]
    expected = tuned.encode(texts)
    assert (loaded.encode(texts) == expected).all()
    assert (expected != base.encode(texts)).any()
    assert 'library_name: "sentence-transformers"' in (out / "README.md").read_text()
    assert set(os.listdir(tmp_path / "base")) == set(os.listdir(out))


def test_names_of_old_come_out_as_they_are(tmp_path):
    from safetensors.torch import load_file, save_file

    model = families.make("bert")
    tuned = families.tuned(model)
    for name, each in (("base", model), ("tuned", tuned)):
        each.save_pretrained(tmp_path / name)
        file = tmp_path / name / "model.safetensors"
        old = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): tensor
            for key, tensor in load_file(file).items()
        }
        save_file(old, file, {"format": "pt"})
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("t", tmp_path / "tuned", tvbank.Exact())
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    loaded = type(model).from_pretrained(out).eval()
    assert same(outputs(loaded, {"input_ids": IDS}), outputs(tuned, {"input_ids": IDS}))
