"""``tvbank merge BANK recipe.yaml``: a file, and a folder that ``from_pretrained`` loads."""

import json
from types import SimpleNamespace

import pytest
import torch
from command_line import Shell
from families import LM
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

import tvbank
from tvbank.merging import merge_recipe

RECIPE = """# weights that worked
merge_method: linear
models:
  - model: cats
    parameters: {weight: 0.25}
  - model: someone/dogs
    parameters: {weight: [0.5, 0.75]}
parameters: {int8_mask: true}
"""
SLICES = """merge_method: passthrough
slices:
  - sources: [{model: cats, layer_range: [0, 2]}]
  - sources: [{model: hub/puppies, layer_range: [1, 3]}]
dtype: bfloat16
"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A folder of a base of three layers, and a bank with two fine-tunes of it."""
    folder = tmp_path_factory.mktemp("llama")
    torch.manual_seed(0)
    config = LlamaConfig(**LM | {"num_hidden_layers": 3}, tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "base")
    bank = tvbank.create(folder / "bank", folder / "base")
    for task in ("cats", "dogs"):
        with torch.no_grad():
            for weights in model.parameters():
                weights += 0.02 * torch.randn(weights.shape)
        bank.add(task, model, tvbank.Exact())
    return SimpleNamespace(folder=folder, bank=bank)


@pytest.fixture
def shell(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    return Shell(tmp_path, monkeypatch, capsys)


def test_a_file_has_what_the_library_merges_and_the_recipe(shell, llama):
    recipe, out = shell.folder / "recipe.yaml", shell.folder / "merged.safetensors"
    recipe.write_text(RECIPE)
    ended = shell("merge", llama.folder / "bank", recipe, "-o", out, "--json")
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    assert (report["method"], report["bytes"]) == ({"name": "linear"}, out.stat().st_size)
    assert len(report["notes"]) == 1
    assert "line 8" in report["notes"][0]
    merged = merge_recipe(llama.bank, recipe)
    with safe_open(out, "pt") as file:
        assert set(file.keys()) == set(merged)
        assert file.metadata() == {"format": "pt", "recipe": RECIPE}
        assert all(torch.equal(file.get_tensor(name), merged[name]) for name in merged)
    ended = shell("merge", llama.folder / "bank", recipe, "-o", out, "--force")
    assert (ended.status, "note: recipe.yaml, line 8" in ended.err) == (0, True)


def test_a_folder_is_loaded_with_its_own_number_of_layers(shell, llama):
    recipe, out = shell.folder / "recipe.yaml", shell.folder / "merged"
    recipe.write_text(SLICES)
    named = ["--model", "hub/puppies=dogs"]
    ended = shell("merge", llama.folder / "bank", recipe, "-o", f"{out}/", *named)
    assert (ended.status, "has 4 layers, and the base 3" in ended.err) == (0, True)
    assert (out / "mergekit_config.yml").read_text() == SLICES
    assert f"```yaml\n{SLICES}```" in (out / "README.md").read_text()
    loaded = AutoModelForCausalLM.from_pretrained(out)
    assert loaded.config.num_hidden_layers == 4
    assert loaded.dtype == torch.bfloat16
    expected = merge_recipe(llama.bank, recipe, models={"hub/puppies": "dogs"})
    state = loaded.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in expected.items())
    assert loaded(torch.tensor([[1, 2, 3]])).logits.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["recipe.yaml", "--density", "0.5"], "--density is for TASK=WEIGHT"),
        (["recipe.yaml", "--method", "ties"], "--method is for TASK=WEIGHT"),
        (["recipe.yaml", "--model", "cats"], "--model takes NAME=TASK"),
        (["cats=1", "--model", "a=cats"], "--model is for a recipe"),
        (["none.yaml"], "neither TASK=WEIGHT nor a file"),
        (["wrong.yaml"], "wrong.yaml, line 2: model: unknown key 'model'"),
        (["unknown.yaml"], "unknown.yaml, line 3: models[0]: model 'birds' is neither a task"),
    ],
)
def test_what_does_not_fit_is_refused(shell, llama, monkeypatch, arguments, words):
    monkeypatch.chdir(shell.folder)
    (shell.folder / "recipe.yaml").write_text(RECIPE)
    (shell.folder / "wrong.yaml").write_text("merge_method: linear\nmodel: [cats]\n")
    (shell.folder / "unknown.yaml").write_text(
        "merge_method: linear\nmodels:\n  - {model: birds, parameters: {weight: 1}}\n"
    )
    out = shell.folder / "merged.safetensors"
    ended = shell("merge", llama.folder / "bank", *arguments, "-o", out)
    assert (ended.status, words in ended.err) == (2, True), ended.err
    assert not out.exists()
