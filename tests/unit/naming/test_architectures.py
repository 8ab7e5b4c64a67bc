"""The class behind a folder's config.json: built without weights, never from a stranger's code."""

import json

import families
import pytest
import torch

import tvbank
from tvbank.errors import UnitMismatchError


@pytest.fixture
def made(tmp_path):
    base = families.make("vit")
    base.save_pretrained(tmp_path / "base")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    return bank, families.tuned(base).state_dict(), tmp_path / "base" / "config.json"


def rewrite(path, **members):
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


def test_the_base_tells_what_a_state_dict_means(made):
    bank, state, _ = made
    assert not bank.add("t", state, tvbank.Exact()).extras


@pytest.mark.parametrize(
    "members",
    [
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": [1] * 10**5},
        {"architectures": ["NoSuchModel"], "model_type": "none"},
        {"architectures": ["AutoTokenizer"], "model_type": 7},
        {"architectures": ["Trainer"], "model_type": "none"},
        {"hidden_size": "wide"},
        {"hidden_size": -1},
    ],
)
def test_a_configuration_that_cannot_be_built_tells_nothing(made, members):
    bank, state, path = made
    rewrite(path, **members)
    with pytest.raises(UnitMismatchError, match="lacks units"):
        bank.add("t", state)


def test_code_beside_the_weights_is_not_run(made):
    bank, state, path = made
    (path.parent / "modeling_own.py").write_text("raise SystemExit('run')")
    own = {"AutoConfig": "modeling_own.C", "AutoModel": "modeling_own.M"}
    rewrite(path, auto_map=own, architectures=["M"], model_type="own")
    with pytest.raises(UnitMismatchError, match="lacks units"):
        bank.add("t", state)
    rewrite(path, architectures=["ViTForImageClassification"], model_type="vit")
    assert not bank.add("t", state, tvbank.Exact()).extras


def test_flexswitch_learns_on_a_model_with_fused_tensors(tmp_path):
    base = families.make("qwen3_moe")
    tuned = families.tuned(base)
    base.save_pretrained(tmp_path / "base")
    tuned.save_pretrained(tmp_path / "tuned")
    bank = tvbank.create(tmp_path / "bank", tmp_path / "base")
    inputs = {"input_ids": torch.randint(3, 40, (16, 4))}

    def forward(model, batch):
        return model(**batch).logits[:, -1]

    learned = tvbank.FlexSwitch(base, inputs, steps=2, batch=8, forward=forward)
    task = bank.add("t", tmp_path / "tuned", learned)
    assert task["model.layers.0.mlp.experts.1.up_proj.weight"].to_dense().any()
