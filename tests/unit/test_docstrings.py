"""The examples in docstrings run: doctest, with a small bank and its model at hand."""

import doctest
import importlib
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import tvbank

PACKAGE = Path(tvbank.__file__).parent
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text())


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the examples use: files, a bank of two tasks with a router, the model, inputs."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 32, bias=False)
    model = torch.nn.Sequential(OrderedDict(encoder=layer)).eval()
    base = {name: weights.clone() for name, weights in model.state_dict().items()}
    tuned = {
        task: {name: w + 0.01 * torch.randn_like(w) for name, w in base.items()}
        for task in ("cats", "dogs")
    }
    for name, state in {"base": base, **tuned}.items():
        save_file(state, f"{name}.safetensors")
    bank = tvbank.create("bank", base="base.safetensors")
    for task, state in tuned.items():
        bank.add(task, state, compressor=tvbank.Exact())
    examples = {"cats": torch.randn(40, 32) + 2, "dogs": torch.randn(40, 32) - 2}
    found = {task: tvbank.routing.features(model, some) for task, some in examples.items()}
    bank.add_router("router", tvbank.Router.fit(found))
    inputs = torch.cat([some[:4] for some in examples.values()])
    return {"bank": bank, "cats": tuned["cats"], "examples": examples, "inputs": inputs,
            "model": model, "torch": torch, "tvbank": tvbank}  # fmt: skip


def test_many_modules_have_examples():
    assert len(MODULES) >= 12


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_examples_run(path, names):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
    results = doctest.testmod(module, globs=vars(module) | names)
    assert results.attempted >= 1
    assert not results.failed
