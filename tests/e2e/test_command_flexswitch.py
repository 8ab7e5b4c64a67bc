"""``tvbank add --method flexswitch`` from files, as a user runs it."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tvbank

MODEL = """
import torch
from safetensors.torch import load_file


def build():
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    model.load_state_dict(load_file("{base}"))
    return model


class Named(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = build()

    def forward(self, left, right):
        return self.inner(torch.cat([left, right], 1))


def fail():
    raise RuntimeError("no weights")


def text():
    return "text"
"""


@pytest.fixture
def files(shell, tmp_path, monkeypatch):
    """A bank of a small base, a fine-tune, a module that builds the model, examples."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3))
    base = model.state_dict()
    save_file(base, tmp_path / "small.safetensors")
    tuned = {name: t + 0.3 * torch.randn(t.shape) for name, t in base.items()}
    save_file(tuned, tmp_path / "tuned.safetensors")
    name = f"small_models_{tmp_path.name}".replace("-", "_")
    (tmp_path / f"{name}.py").write_text(MODEL.format(base=tmp_path / "small.safetensors"))
    x = torch.randn(40, 6)
    np.savez(tmp_path / "data.npz", inputs=x.numpy())
    save_file(
        {"left": x[:, :2].contiguous(), "right": x[:, 2:].contiguous()},
        tmp_path / "data.safetensors",
    )
    torch.save(x, tmp_path / "data.pt")
    monkeypatch.chdir(tmp_path)
    assert shell("init", "small", "--base", "small.safetensors").status == 0
    return name


LEARN = ("--method", "flexswitch", "--steps", "30", "--batch", "16")


def test_adding_by_learning(shell, files):
    shown = shell("add", "--help")
    assert shown.status == 0
    assert "--method flexswitch" in shown.out
    assert "MODULE:CALLABLE" in shown.out
    for name, model, data in (
        ("npz", "build", "data.npz"), ("pt", "build", "data.pt"),
        ("named", "Named", "data.safetensors"),
    ):  # fmt: skip
        run = shell("add", "small", name, "tuned.safetensors", *LEARN, "--model",
                    f"{files}:{model}", "--data", data)  # fmt: skip
        assert run.status == 0, run.err
        assert "flexswitch batch=16 examples=40 lam=0.5" in run.out
    bank = tvbank.open("small")
    for unit, entries in bank["npz"].items():
        assert np.array_equal(entries.to_dense(), bank["pt"][unit].to_dense())
        assert np.array_equal(entries.to_dense(), bank["named"][unit].to_dense())


def test_every_option_reaches_the_compressor(shell, files):
    run = shell(
        "add", "small", "all", "tuned.safetensors", *LEARN, "--model", f"{files}:build",
        "--data", "data.npz", "--loss", "mse", "--lam", "0.2", "--seed", "3",
        "--budget", "60 bits/param", "--checkpoint", "run.npz", "--objective", "bytes",
    )  # fmt: skip
    assert run.status == 0, run.err
    described = tvbank.open("small")["all"].compressor
    assert described == {
        "name": "flexswitch", "loss": "mse", "lam": 0.2, "steps": 30, "batch": 16, "seed": 3,
        "objective": "bytes", "budget": "60 bits/param", "examples": 40,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--method", "flexswitch"), "give --model module:callable and --data"),
        (("--method", "flexswitch", "--drop", "0.5"), "belong to --method tswitch"),
        (("--lam", "0.5"), "give --model module:callable and --data"),
        (("--method", "exact", "--data", "data.npz"), "--data belongs to --method flexswitch"),
        ((*LEARN, "--model", "build", "--data", "data.npz"), "takes MODULE:NAME"),
        ((*LEARN, "--model", "nowhere:x", "--data", "data.npz"), "No module named 'nowhere'"),
        ((*LEARN, "--model", "{m}:fail", "--data", "data.npz"), "RuntimeError: no weights"),
        ((*LEARN, "--model", "{m}:text", "--data", "data.npz"), "must be a torch module"),
        ((*LEARN, "--model", "{m}:build", "--data", "data.csv"), "come as .npz, .safetensors"),
        ((*LEARN, "--model", "{m}:build", "--data", "none.npz"), "none.npz cannot be read"),
        ((*LEARN, "--model", "{m}:build", "--data", "bad.npz"), "cannot be read as examples"),
        ((*LEARN, "--model", "{m}:build", "--data", "objects.npz"), "cannot be read as examples"),
        ((*LEARN, "--model", "{m}:build", "--data", "bad.pt"), "cannot be read as examples"),
        ((*LEARN, "--model", "{m}:build", "--data", "text.pt"), "must hold tensors"),
        ((*LEARN, "--model", "{m}:build", "--data", "data.npz", "--budget", "1 byte"), "cannot be"),
    ],
)
def test_what_is_refused(shell, files, tmp_path, options, says):
    (tmp_path / "bad.npz").write_bytes(b"nonsense")
    (tmp_path / "bad.pt").write_bytes(b"nonsense")
    np.savez(tmp_path / "objects.npz", inputs=np.array([{}], object))
    torch.save({"inputs": "text"}, tmp_path / "text.pt")
    given = [option.replace("{m}", files) for option in options]
    run = shell("add", "small", "t", "tuned.safetensors", *given)
    assert run.status in (1, 2)
    assert says in " ".join(run.err.split())
    assert "t" not in tvbank.open("small")
