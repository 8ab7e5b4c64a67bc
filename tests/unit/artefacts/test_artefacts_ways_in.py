"""The ways in: the command line, a manifest, and ``inspect`` of whatever there is."""

import json

import pytest
import torch
from artefacts import base_model, bits_of
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import tvbank
from tvbank.building import build
from tvbank.cli import app
from tvbank.cli import building as _building  # noqa: F401 - registers its verbs
from tvbank.cli import inspecting as _inspecting  # noqa: F401
from tvbank.errors import CheckpointError, UsageError
from tvbank.reporting import sweep

SCALE = 0.5


@pytest.fixture
def emr(tmp_path):
    """A base's file, an EMR file of two tasks, and what the second makes of the base."""
    base = base_model()
    save_file(base, tmp_path / "base.safetensors")
    unified = {name: 0.02 * torch.randn(w.shape) for name, w in base.items()}
    masks = [{name: torch.rand(w.shape) < 0.5 for name, w in base.items()} for _ in range(2)]
    torch.save({"unified": unified, "masks": masks, "rescalers": [1, SCALE]}, tmp_path / "emr.pt")
    expected = {
        name: torch.where(masks[1][name], w + unified[name] * SCALE, w) for name, w in base.items()
    }
    return tmp_path, expected


def test_add_and_inspect_on_the_command_line(emr):
    folder, expected = emr
    tvbank.create(folder / "bank", folder / "base.safetensors")
    runner = CliRunner()
    asked = runner.invoke(app, ["inspect", str(folder / "emr.pt"), "--json"])
    assert asked.exit_code == 0
    found = json.loads(asked.output)
    assert found["kind"] == "emr"
    assert found["how"] == [f"tvbank add BANK NAME {folder / 'emr.pt'} --given dataset=…"]
    shown = runner.invoke(app, ["inspect", str(folder / "emr.pt")]).output
    assert "needs dataset" in shown
    assert "EMR-Merging" in shown
    command = ["add", str(folder / "bank"), "t", str(folder / "emr.pt"), "--method", "exact"]
    assert isinstance(runner.invoke(app, command).exception, UsageError)
    done = runner.invoke(app, [*command, "--given", "dataset=1"])
    assert done.exit_code == 0, done.output
    tvbank.export(tvbank.open(folder / "bank"), "t", out=folder / "out.safetensors")
    assert bits_of(load_file(folder / "out.safetensors")) == bits_of(expected)


def test_a_manifest_gives_what_an_artefact_lacks(emr):
    folder, expected = emr
    (folder / "tasks.toml").write_text(
        'bank = "bank"\nbase = "base.safetensors"\n[tasks.t]\ncheckpoint = "emr.pt"\n'
        'method = "exact"\ngiven = { dataset = 1 }\n[tasks.u]\ncheckpoint = "emr.pt"\n'
    )
    done = build(folder / "tasks.toml", workers=1)
    assert list(done.built) == ["t"]
    assert "--given dataset=" in str(done.failed["u"])
    tvbank.export(done.location, "t", out=folder / "out.safetensors")
    assert bits_of(load_file(folder / "out.safetensors")) == bits_of(expected)
    again = build(folder / "tasks.toml", workers=1)
    assert list(again.present) == ["t"]


def test_what_inspect_says_of_everything_else(tmp_path):
    base = base_model(torch.bfloat16)
    save_file(base, tmp_path / "model.safetensors")
    torch.save(base, tmp_path / "model.pt")
    for name in ("model.safetensors", "model.pt"):
        found = tvbank.inspect(tmp_path / name)
        assert (found.kind, found.dtypes) == ("checkpoint", {"bfloat16": 4})
        assert found.nbytes == sum(2 * w.numel() for w in base.values())
        assert len(found.how) == 2
    tvbank.create(tmp_path / "bank", base).add("t", {n: w + 0.5 for n, w in base.items()})
    found = tvbank.inspect(tmp_path / "bank")
    assert (found.kind, found.facts["tasks"]) == ("bank", ["t"])
    tvbank.pack(tmp_path / "bank", tmp_path / "bank.zip")
    assert tvbank.inspect(tmp_path / "bank.zip").kind == "bank"
    recipe = tmp_path / "merge.yaml"
    recipe.write_text("merge_method: linear\nmodels:\n  - model: a\n")
    assert tvbank.inspect(recipe).kind == "recipe"
    (tmp_path / "noise.dat").write_bytes(b"\1\2\3" * 50)
    (tmp_path / "empty").mkdir()
    for name in ("noise.dat", "empty"):
        assert tvbank.inspect(tmp_path / name).kind == "unknown"
    with pytest.raises(CheckpointError, match="no such file"):
        tvbank.inspect(tmp_path / "nothing")


def test_an_adapter_is_told_by_its_files(tmp_path):
    folder = tmp_path / "lora"
    folder.mkdir()
    factors = {
        "base_model.model.a.lora_A.weight": torch.ones(2, 64),
        "base_model.model.a.lora_B.weight": torch.ones(32, 2),
    }
    save_file(factors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": "org/model", "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    found = tvbank.inspect(folder)
    assert found.kind == "adapter"
    assert (found.facts["method"], found.facts["base"]) == ("LORA", "org/model")
    assert {tensor.role for tensor in found.tensors} == {"delta"}
    assert found.how == [f"tvbank add BANK NAME {folder}"]
    kohya = {"lora_unet_a.lora_down.weight": torch.ones(2, 64), "lora_unet_a.alpha": torch.ones(())}
    save_file(kohya, tmp_path / "kohya.safetensors")
    assert tvbank.inspect(tmp_path / "kohya.safetensors").facts["method"] == "LoRA (kohya)"


def test_an_artefact_is_no_base(emr):
    folder, _ = emr
    with pytest.raises(CheckpointError, match="changes a base and is none"):
        tvbank.create(folder / "bank", folder / "emr.pt")
    tasks = {"t": {"checkpoint": str(folder / "base.safetensors")}}
    manifest = {"bank": str(folder / "b"), "base": str(folder / "emr.pt"), "tasks": tasks}
    with pytest.raises(CheckpointError, match="changes a base and is none"):
        build(manifest, workers=1)
    assert not (folder / "bank").exists()


def test_a_sweep_takes_an_artefact(emr):
    folder, expected = emr
    seen = []

    def evaluate(path):
        seen.append(bits_of(load_file(path)))
        return 1.0

    sweep(folder / "base.safetensors", folder / "emr.pt", evaluate, [tvbank.Exact()],
          given={"dataset": 1})  # fmt: skip
    before = bits_of(load_file(folder / "base.safetensors"))
    assert [each for each in seen if each != before] == [bits_of(expected)] * 2
