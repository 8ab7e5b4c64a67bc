"""What a fine-tune's own configuration says stays with its task, and comes out with its folder."""

import copy
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
)

import tvbank
from tvbank.folders import config_of, config_patch

SIZES = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
         "num_attention_heads": 2}  # fmt: skip
IDS = torch.tensor([[1, 2, 5]])


def llama(**options):
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(vocab_size=24, **SIZES, **options)).eval()


def resized(model, size):
    other = copy.deepcopy(model)
    other.resize_token_embeddings(size, mean_resizing=False)
    return other


def logits(model, ids=IDS):
    with torch.no_grad():
        return model(input_ids=ids).logits


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize("given", ["module", "folder", "state dict"])
def test_a_resized_vocabulary_is_exported_with_its_size(tmp_path, tie, given):
    base = llama(tie_word_embeddings=tie)
    base.save_pretrained(tmp_path / "base")
    tuned = resized(base, 30)
    tuned.save_pretrained(tmp_path / "tuned")
    kinds = {"module": tuned, "folder": tmp_path / "tuned", "state dict": tuned.state_dict()}
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    task = bank.add("big", kinds[given], tvbank.Exact(), replace_mismatched=True)
    assert task.metadata == ({} if given == "state dict" else {"config": {"vocab_size": 30}})
    out = tvbank.export(bank, "big", out=f"{tmp_path}/out/")
    loaded = LlamaForCausalLM.from_pretrained(out)
    assert loaded.config.vocab_size == 30
    assert loaded.config.tie_word_embeddings == tie
    ids = torch.tensor([[1, 29]])
    assert torch.equal(logits(loaded, ids), logits(tuned, ids))


@pytest.mark.parametrize("given", ["module", "folder"])
def test_another_head_is_exported_with_its_labels_and_architecture(tmp_path, given):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=24, **SIZES)
    two = BertForSequenceClassification(config)
    two.save_pretrained(tmp_path / "base")
    labels = {0: "bad", 1: "fair", 2: "good"}
    named = {"id2label": labels, "label2id": {text: label for label, text in labels.items()}}
    three = BertForSequenceClassification(BertConfig(vocab_size=24, **SIZES, **named)).eval()
    three.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    tuned = three if given == "module" else tmp_path / "tuned"
    bank.add("three", tuned, tvbank.Exact(), replace_mismatched=True)
    out = tvbank.export(bank, "three", out=f"{tmp_path}/out/")
    loaded = AutoModelForSequenceClassification.from_pretrained(out)
    assert type(loaded) is BertForSequenceClassification
    assert loaded.config.id2label == labels
    assert torch.equal(logits(loaded), logits(three))
    bank.add("nameless", three.state_dict(), tvbank.Exact(), replace_mismatched=True)
    nameless = tvbank.export(bank, "nameless", out=f"{tmp_path}/nameless/")
    loaded = AutoModelForSequenceClassification.from_pretrained(nameless)
    assert loaded.config.num_labels == 3
    assert torch.equal(logits(loaded), logits(three))


def test_what_the_user_says_of_the_configuration_counts(tmp_path):
    base = llama()
    base.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    mine = {"config": {"note": "mine"}, "other": 1}
    assert bank.add("t", base, tvbank.Exact(), mine).metadata == mine
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    assert json.loads((out / "config.json").read_text())["note"] == "mine"


def test_a_configuration_that_cannot_be_read_keeps_no_fine_tune_out(tmp_path):
    base = llama()
    base.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    for number, text in enumerate(
        ["{", "[]", '{"a": ' * 500 + "1" + "}" * 500, '{"a": 1e999}', '{"a": 36893488147419103232}']
    ):
        base.save_pretrained(tmp_path / "tuned")
        (tmp_path / "tuned" / "config.json").write_text(text)
        task = bank.add(f"t{number}", tmp_path / "tuned", tvbank.Exact())
        assert task.metadata == {}


def test_a_build_keeps_it_too(tmp_path):
    base = llama()
    base.save_pretrained(tmp_path / "base")
    resized(base, 30).save_pretrained(tmp_path / "tuned")
    manifest = tmp_path / "tasks.toml"
    manifest.write_text(
        'bank = "bank"\nbase = "base"\n[tasks.big]\ncheckpoint = "tuned"\nmethod = "exact"\n'
        "replace_mismatched = true\n"
    )
    tvbank.build(manifest, workers=1)
    assert tvbank.open(tmp_path / "bank")["big"].metadata == {"config": {"vocab_size": 30}}
    assert tvbank.build(manifest, workers=1).present == ("big",)


class Wrapper(torch.nn.Module):
    """As torch's and peft's do, it has what the model within it has."""

    def __init__(self, model):
        super().__init__()
        self.inner = model

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


def test_a_wrapped_model_has_the_configuration_of_the_model_and_no_class_of_its_own(tmp_path):
    base = llama()
    base.save_pretrained(tmp_path / "base")
    wrapped = config_of(Wrapper(resized(llama(), 30)))
    assert config_patch(config_of(tmp_path / "base"), wrapped) == {"vocab_size": 30}


@pytest.mark.parametrize("base", [BertForMaskedLM, BertModel])
def test_an_encoder_becomes_a_classifier(tmp_path, base):
    torch.manual_seed(0)
    base(BertConfig(vocab_size=24, **SIZES)).save_pretrained(tmp_path / "base")
    tuned = BertForSequenceClassification.from_pretrained(tmp_path / "base", num_labels=3).eval()
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    task = bank.add("t", tmp_path / "tuned", tvbank.Exact(), missing="base")
    heads = [name for name in task.metadata.get("lacks", []) if name.startswith("cls.predictions.")]
    assert bool(heads) == (base is BertForMaskedLM)
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    written, wanted = (
        {name.removeprefix("bert.") for name in load_file(folder / "model.safetensors")}
        for folder in (out, tmp_path / "tuned")
    )
    assert written == wanted
    loaded, info = AutoModelForSequenceClassification.from_pretrained(out, output_loading_info=True)
    assert not any(info.values())
    assert loaded.config.architectures == ["BertForSequenceClassification"]
    assert torch.equal(logits(loaded), logits(tuned))
    bank.add("bare", tuned.state_dict(), tvbank.Exact(), missing="base")
    with pytest.warns(UserWarning, match=rf"classifier.weight.*{base.__name__}.*--files"):
        bare = tvbank.export(bank, "bare", out=f"{tmp_path}/bare/")
    loaded = AutoModelForSequenceClassification.from_pretrained(bare)
    assert loaded.config.num_labels == 3
    assert torch.equal(logits(loaded), logits(tuned))
    told = tvbank.export(bank, "bare", out=f"{tmp_path}/told/", files=tmp_path / "tuned")
    assert json.loads((told / "config.json").read_text())["architectures"] == [
        "BertForSequenceClassification"
    ]
    assert not any(name.startswith("cls.") for name in load_file(told / "model.safetensors"))
    manifest = tmp_path / "tasks.toml"
    manifest.write_text('bank = "bank"\n[tasks.built]\ncheckpoint = "tuned"\nmethod = "exact"\n')
    tvbank.build(manifest, workers=1)
    assert tvbank.open(tmp_path / "bank")["built"].metadata == task.metadata
    assert tvbank.build(manifest, workers=1).present == ("built",)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_comes_out_as_a_whole_model(tmp_path):
    peft = pytest.importorskip("peft")
    base = llama()
    base.save_pretrained(tmp_path / "base")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(copy.deepcopy(base), config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    bank.add("t", tmp_path / "adapter")
    out = tvbank.export(bank, "t", out=f"{tmp_path}/out/")
    loaded = LlamaForCausalLM.from_pretrained(out)
    assert torch.allclose(logits(loaded), logits(adapted.merge_and_unload()), atol=1e-6)
    assert not torch.allclose(logits(loaded), logits(base), atol=1e-3)
