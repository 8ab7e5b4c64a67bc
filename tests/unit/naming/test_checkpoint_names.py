"""Fine-tunes and bases whose names differ from the bank's: wrappers, prefixes, heads, tables."""

import families
import numpy as np
import pytest
import torch
import transformers as tf
from safetensors.torch import load_file, save_file

import tvbank
from tvbank.errors import UnitMismatchError, UsageError

RENAMED = ["vit", "qwen3_moe", "mixtral", "gpt_neox", "llava", "gemma3_images"]


def bits_of(folder, kind):
    return {name: t.clone() for name, t in kind.from_pretrained(folder).state_dict().items()}


@pytest.fixture
def made(request, tmp_path):
    """A base and a fine-tune as modules, and as folders."""
    base = families.make(request.param)
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    return base, tuned, tmp_path


@pytest.mark.parametrize("made", RENAMED, indirect=True)
def test_a_module_is_added_to_a_bank_of_a_folder(made):
    _, tuned, folder = made
    bank = tvbank.create(folder / "bank", folder / "base")
    task = bank.add("module", tuned, tvbank.Exact())
    assert not task.extras
    assert "transformers" in task.remarks[0]
    bank.add("state", tuned.state_dict(), tvbank.Exact())  # the base's folder tells
    bank.add("folder", folder / "tuned", tvbank.Exact())
    assert not bank["folder"].extras
    expected = load_file(folder / "tuned" / "model.safetensors")
    for name in bank:
        out = load_file(tvbank.export(bank, name, out=folder / f"{name}.safetensors"))
        assert out.keys() == expected.keys()
        assert all(torch.equal(out[n], expected[n]) for n in out)


@pytest.mark.parametrize("made", RENAMED, indirect=True)
def test_a_folder_is_added_to_a_bank_of_a_module(made):
    base, tuned, folder = made
    bank = tvbank.create(folder / "bank", base)
    task = bank.add("folder", folder / "tuned", tvbank.Exact())
    assert not task.extras
    merged = tvbank.merge(bank, {"folder": 0}, base=folder / "base")
    assert all(torch.equal(merged[n], t) for n, t in base.state_dict().items())
    out = tvbank.export(bank, "folder", base=folder / "base", out=folder / "out.safetensors")
    restored = load_file(out)
    assert all(torch.equal(restored[n], t) for n, t in tuned.state_dict().items())


@pytest.mark.parametrize(
    ("base_has", "tuned_has"),
    [("", "module."), ("", "_orig_mod."), ("", "module._orig_mod."), ("", "model."),
     ("model.", ""), ("model.", "net."), ("", "model.bert.")],
)  # fmt: skip
def test_other_prefixes_are_found_and_named(base_has, tuned_has, tmp_path):
    rng = np.random.default_rng(0)
    names = ["embeddings.weight", "layer.0.weight", "layer.1.weight", "head.bias"]
    weights = {name: rng.standard_normal((4, 3)).astype(np.float32) for name in names}
    base = {base_has + name: array for name, array in weights.items()}
    bank = tvbank.create(tmp_path / "bank", base)
    tuned = {tuned_has + name: array + 0.5 for name, array in weights.items()}
    task = bank.add("t", tuned, tvbank.Exact())
    assert list(task.extras) == []
    assert repr(tuned_has or base_has)[:-1] in task.remarks[0] or "module" in task.remarks[0]
    for name, array in weights.items():
        assert (bank.state_dict("t")[base_has + name].numpy() == array + 0.5).all()


def test_two_prefixes_are_not_chosen_between(tmp_path):
    base = {f"layer.{n}.weight": np.full((3, 2), n + 1.0, np.float32) for n in range(3)}
    bank = tvbank.create(tmp_path / "bank", base)
    both = {f"{who}.{name}": array + 1 for name, array in base.items() for who in ("ema", "model")}
    with pytest.raises(UnitMismatchError, match=r"several times, below '(ema|model)\.' or") as told:
        bank.add("t", both)
    assert "names=" in str(told.value)
    task = bank.add("t", both, tvbank.Exact(), names=lambda name: f"ema.{name}")
    assert task["layer.0.weight"].to_dense().all()
    assert "model.layer.0.weight" in task.extras


def test_names_as_a_mapping(tmp_path):
    base = {"a": np.ones((3, 2), np.float32), "b": np.ones(4, np.float32)}
    bank = tvbank.create(tmp_path / "bank", base)
    tuned = {"x": np.full((3, 2), 2, np.float32), "b": np.full(4, 3, np.float32)}
    bank.add("t", tuned, tvbank.Exact(), names={"a": "x"})
    assert (bank.state_dict("t")["a"] == 2).all()
    assert not bank["t"].extras
    with pytest.raises(UsageError, match="'y', which the checkpoint lacks"):
        bank.add("u", tuned, names={"a": "y"})
    with pytest.raises(UsageError, match="must be a mapping"):
        bank.add("u", tuned, names=3)
    with pytest.raises(UsageError, match="gives 3 for 'a'"):
        bank.add("u", tuned, names=lambda name: 3)


CONFIG = tf.BertConfig(**families.ENCODER)


@pytest.fixture
def berts(tmp_path):
    """One body as masked-LM model, bare encoder and classifier; a fine-tuned classifier."""
    torch.manual_seed(0)
    masked = tf.BertForMaskedLM(CONFIG).eval()
    classifier = tf.BertForSequenceClassification(CONFIG).eval()
    body = {n: t for n, t in masked.bert.state_dict().items() if "pooler" not in n}
    classifier.bert.load_state_dict(body, strict=False)
    tuned = families.tuned(classifier)
    for name, model in {
        "mlm": masked,
        "bare": classifier.bert,
        "cls": classifier,
        "tuned": tuned,
    }.items():
        model.save_pretrained(tmp_path / name)
    return classifier, tuned, tmp_path


@pytest.mark.parametrize("base", ["mlm", "bare", "cls"])
def test_a_classifier_is_added_to_a_base_with_another_head_or_none(berts, base):
    classifier, tuned, folder = berts
    bank = tvbank.create(folder / "bank", folder / base)
    task = bank.add("t", folder / "tuned", tvbank.Exact())
    if base == "mlm":
        assert "units 'cls.predictions.bias'" in task.remarks[-1]
    switch = tvbank.attach(classifier, bank)
    with switch("t"):
        state = tuned.state_dict()
        assert all(torch.equal(t, state[n]) for n, t in classifier.state_dict().items())
        assert switch.unused == ()


@pytest.mark.parametrize("base", ["mlm", "cls"])
def test_a_head_loses_what_a_wrapper_put_before_it(berts, base):
    classifier, tuned, folder = berts
    bank = tvbank.create(folder / "bank", folder / base)
    wrapped = {f"module.{name}": tensor for name, tensor in tuned.state_dict().items()}
    torch.save(wrapped, folder / "ddp.pt")
    bank.add("t", folder / "ddp.pt", tvbank.Exact())
    assert not any(name.startswith("module") for name in bank["t"].extras)
    switch = tvbank.attach(classifier, bank)
    with switch("t"):
        state = tuned.state_dict()
        assert all(torch.equal(t, state[n]) for n, t in classifier.state_dict().items())
        assert switch.unused == ()


def test_names_in_any_script(made_vit):
    bank, tuned = made_vit
    odd = {"layers.\u00b2.weight": torch.ones(2), "\u0663.x": torch.ones(1)}
    task = bank.add("t", {**tuned.state_dict(), **odd}, tvbank.Exact())
    assert set(task.extras) == set(odd)


@pytest.fixture
def made_vit(tmp_path):
    base = families.make("vit")
    base.save_pretrained(tmp_path / "base")
    return tvbank.create(tmp_path / "bank", tmp_path / "base"), families.tuned(base)


def test_old_names_of_bert(berts):
    _, tuned, folder = berts
    old = load_file(folder / "cls" / "model.safetensors")
    old = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for name, t in old.items()
    }
    save_file(old, folder / "cls" / "model.safetensors", {"format": "pt"})
    bank = tvbank.create(folder / "bank", folder / "cls")
    assert "bert.embeddings.LayerNorm.gamma" in bank.layout.by_name
    bank.add("t", folder / "tuned", tvbank.Exact())
    assert not bank["t"].extras
    live = tf.BertForSequenceClassification.from_pretrained(folder / "cls").eval()
    with tvbank.attach(live, bank)("t"):
        state = tuned.state_dict()
        assert all(torch.equal(t, state[n]) for n, t in live.state_dict().items())


def test_what_is_missing_is_taken_from_the_base_where_that_is_said(tmp_path):
    base = {f"layer.{n}.{kind}": np.full((3, 2), n + 1.0, np.float32)
            for n in range(3) for kind in ("weight", "bias")}  # fmt: skip
    bank = tvbank.create(tmp_path / "bank", base)
    tuned = {name: array + 1 for name, array in base.items() if name != "layer.2.bias"}
    with pytest.raises(
        UnitMismatchError, match=r"lacks unit 'layer\.2\.bias'.*not complete"
    ) as told:
        bank.add("t", tuned)
    assert "missing='base'" in str(told.value)
    for missing in ("base", ["layer.2.bias"], ["*.2.*"]):
        task = bank.add("t", tuned, tvbank.Exact(), missing=missing, replace=True)
        assert (bank.state_dict("t")["layer.2.bias"] == 3).all()
        assert (bank.state_dict("t")["layer.2.weight"] == 4).all()
        assert "'layer.2.bias'" in task.remarks[0]
    for missing in (["*.1.*"], "layer.1.bias"):
        with pytest.raises(UnitMismatchError, match=r"layer\.2\.bias"):
            bank.add("u", tuned, missing=missing)
    with pytest.raises(UsageError, match="missing must be"):
        bank.add("u", tuned, missing=[3])
    with pytest.raises(UnitMismatchError, match="another model"):
        bank.add("u", {"other": np.ones(3, np.float32)}, missing="base")


def test_a_head_of_another_name_is_not_taken_for_the_bases(tmp_path):
    base = {f"body.{n}.weight": np.full((3, 2), n + 1.0, np.float32) for n in range(3)}
    head = {"lm_head.weight": np.full((3, 2), 9, np.float32)}
    bank = tvbank.create(tmp_path / "bank", base | head)
    tuned = {name: array + 1 for name, array in base.items()}
    task = bank.add("t", tuned | {"score.weight": head["lm_head.weight"] * 7}, tvbank.Exact())
    assert list(task.extras) == ["score.weight"]
    assert "'lm_head.weight' of the base are not in it" in task.remarks[-1]
    assert (bank.state_dict("t")["lm_head.weight"] == 9).all()


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_tie_under_another_name_on_either_side_is_that_tie(family, tmp_path):
    """What tensor of a tie a file lists is chance: save_pretrained and save_model choose apart."""
    base = families.make(family)
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    weights = load_file(tmp_path / "tuned" / "model.safetensors")
    listed = next(name for name in weights if "shared" in name)
    other = listed.replace("shared", "decoder.embed_tokens")
    weights[other] = weights.pop(listed)
    save_file(weights, tmp_path / "tuned" / "model.safetensors", {"format": "pt"})
    task = bank.add("t", tmp_path / "tuned", tvbank.Exact())
    assert not task.extras
    live = type(base).from_pretrained(tmp_path / "base").eval()
    with tvbank.attach(live, bank)("t"):
        state = tuned.state_dict()
        assert all(torch.equal(t, state[n]) for n, t in live.state_dict().items())
        assert live.get_input_embeddings().weight is live.get_decoder().embed_tokens.weight
