"""What the tests of the tools share: one thread, tiny files and tasks, commands run in place."""

import json
import runpy
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file as numpy_file
from safetensors.torch import save_file

from tools import ROOT
from tools.bench.realtasks import _families


@pytest.fixture(autouse=True)
def _one_thread():
    """Two threads wait for each other where a core is busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``python -m tools.ROOM NAME`` in this process; the JSON that it prints, or its text."""

    def command(folder, name, *words):
        path = ROOT / "tools" / folder / name
        monkeypatch.setattr(sys, "argv", [f"python -m tools.{folder} {name}", *map(str, words)])
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        runpy.run_path(str(file), run_name="__main__")
        printed = capsys.readouterr().out
        return json.loads(printed) if words[-1] == "--json" else printed

    return command


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Options that name a base and two fine-tunes of a few thousand entries."""
    folder, chance = tmp_path_factory.mktemp("tiny"), np.random.default_rng(0)
    shapes = {"layer.one": (40, 50), "layer.two": (70,), "layer.three": (8, 6, 5), "last": (30, 64)}
    base = {name: chance.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    numpy_file(base, folder / "base.safetensors")
    paths = [folder / "first.safetensors", folder / "second.safetensors"]
    for path in paths:
        steps = {n: 1e-2 * chance.standard_normal(w.shape, np.float32) for n, w in base.items()}
        numpy_file({name: base[name] + steps[name] for name in base}, path)
    return ["--base", folder / "base.safetensors", "--tuned", *paths]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A folder of the image family, its model narrow: a base and three tasks that were moved."""
    root, chance = tmp_path_factory.mktemp("tasks"), np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_families, "WIDTH", 24)
        torch.manual_seed(0)
        base = _families.VisionTransformer().state_dict()
        for name in ("first", "second", "third"):
            folder = root / "vit" / name
            folder.mkdir(parents=True)
            moved = {n: weights + 0.02 * torch.randn(weights.shape) for n, weights in base.items()}
            save_file(moved, folder / "tuned.safetensors")
            x, y = chance.integers(0, 256, (84, 28, 28), dtype=np.uint8), np.arange(84) % 3
            np.savez(
                folder / "data.npz", x_train=x[:52], y_train=y[:52], x_test=x[52:], y_test=y[52:]
            )
            head = {"weight": torch.randn(3, 24), "bias": torch.zeros(3)}
            save_file(head, folder / "head.safetensors")
        save_file(base, root / "vit" / "base.safetensors")
        yield root
