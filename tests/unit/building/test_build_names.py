"""Fine-tunes of a manifest whose names differ from the base's, or which lack something of it."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

import tvbank
from tvbank.errors import UsageError


@pytest.fixture
def weights(tmp_path):
    rng = np.random.default_rng(0)
    names = ["body.0.weight", "body.1.weight", "body.2.weight", "pooler.bias"]
    base = {name: rng.standard_normal((4, 3)).astype(np.float32) for name in names}
    save_file(base, tmp_path / "base.safetensors")
    return base, tmp_path


def build(folder, tuned, **settings):
    save_file(tuned, folder / "tuned.safetensors")
    task = {"checkpoint": str(folder / "tuned.safetensors"), "method": "exact", **settings}
    place = {"bank": str(folder / "bank"), "base": str(folder / "base.safetensors")}
    done = tvbank.build({**place, "tasks": {"t": task}}, workers=1)
    return done, tvbank.open(folder / "bank")


def test_names_and_what_is_missing(weights):
    base, folder = weights
    tuned = {f"module.{name}": array + 1 for name, array in base.items() if "pooler" not in name}
    tuned["x"] = tuned.pop("module.body.1.weight")
    names = {name: f"module.{name}" for name in base if "pooler" not in name}
    names |= {"body.1.weight": "x"}
    done, bank = build(folder, tuned, names=names, missing=["pooler.*"])
    assert not done.failed
    assert "'pooler.bias' of the base are not in it" in done.remarks["t"]
    state = bank.state_dict("t")
    assert not bank["t"].extras
    for name, array in base.items():
        assert (state[name].numpy() == array + ("pooler" not in name)).all()


def test_a_prefix_is_found_and_the_remark_says_so(weights):
    base, folder = weights
    done, bank = build(folder, {f"module.{name}": array + 1 for name, array in base.items()})
    assert "have 'module.' where the base's do not" in done.remarks["t"]
    assert (bank.state_dict("t")["pooler.bias"].numpy() == base["pooler.bias"] + 1).all()


def test_names_from_a_file_beside_the_manifest(weights):
    base, folder = weights
    names = {name: f"other {number}" for number, name in enumerate(base)}
    save_file({names[n]: array + 1 for n, array in base.items()}, folder / "tuned.safetensors")
    (folder / "names.json").write_text(json.dumps(names))
    task = {"checkpoint": "tuned.safetensors", "method": "exact", "names": "names.json"}
    manifest = {"bank": "bank", "base": "base.safetensors", "tasks": {"t": task}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert not tvbank.build(folder / "manifest.json", workers=1).failed
    state = tvbank.open(folder / "bank").state_dict("t")
    assert all((state[name].numpy() == array + 1).all() for name, array in base.items())
    (folder / "names.json").write_text("[]")
    with pytest.raises(UsageError, match=r"task 't'.*one mapping"):
        tvbank.build(folder / "manifest.json", workers=1)


def test_what_is_missing_must_be_names():
    task = {"checkpoint": "x", "missing": 3}
    with pytest.raises(UsageError, match="missing"):
        tvbank.build({"bank": "b", "base": "c", "tasks": {"t": task}})
