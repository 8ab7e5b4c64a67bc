"""Baselines of the compression benchmark against plain definitions, and its command."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import tvbank
from tools.bench.compress import __main__ as command
from tools.bench.compress._baselines import (
    BitDelta,
    ComPEFT,
    FittedTSwitch,
    Quantised,
    UltraDelta,
    quantise,
)
from tools.bench.realtasks._families import WIDTH, VisionTransformer
from tvbank.storage import MemoryStorage

UPDATE = {
    "large": np.random.default_rng(0).standard_normal((60, 70)).astype(np.float32),
    "small": np.float32(0.1)
    * np.random.default_rng(1).standard_normal((50, 40)).astype(np.float32),
    "vector": np.random.default_rng(2).standard_normal(30).astype(np.float32),
}


def stored(compressor):
    base = {name: np.zeros_like(entries) for name, entries in UPDATE.items()}
    return tvbank.create(MemoryStorage(), base=base).add("task", UPDATE, compressor)


def whole(task):
    return np.concatenate([task[name].to_dense().ravel() for name in UPDATE])


def test_bitdelta_keeps_signs_and_the_mean_magnitude():
    task = stored(BitDelta())
    for name in ("large", "small"):
        expected = np.sign(UPDATE[name]) * np.abs(UPDATE[name]).mean(dtype=np.float64)
        np.testing.assert_allclose(task[name].to_dense(), expected, rtol=1e-6)
    assert (task["vector"].to_dense() == UPDATE["vector"]).all()


def test_compeft_keeps_the_top_of_the_whole_vector():
    entries = np.concatenate([each.ravel() for each in UPDATE.values()])
    kept = whole(stored(ComPEFT(keep=0.1, alpha=3)))
    chosen = kept != 0
    assert chosen.sum() == round(0.1 * entries.size)
    assert np.abs(entries[chosen]).min() >= np.abs(entries[~chosen]).max()
    expected = 3 * entries.std(dtype=np.float64)
    np.testing.assert_allclose(kept[chosen], np.sign(entries[chosen]) * expected, rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_quantisation_errs_by_half_a_step(bits):
    entries = UPDATE["large"]
    step = (entries.max() - entries.min()) / (2**bits - 1)
    found = quantise(entries, bits)
    assert len(np.unique(found)) <= 2**bits
    assert (found == 0).any()
    assert np.abs(found - entries).max() <= 1.01 * step  # the zero point moves it by half a step
    assert (stored(Quantised(bits))["large"].to_dense() == found).all()


def test_ultradelta_drops_its_rate_and_less_where_the_variance_is_high():
    task = stored(UltraDelta(rate=0.9, step=0.05))
    kept = {name: (task[name].to_dense() != 0).mean() for name in UPDATE}
    assert kept["small"] < kept["large"]
    assert abs((whole(task) != 0).mean() - 0.1) < 0.02
    values = np.unique(np.abs(task["large"].to_dense()))
    assert len(values) <= 17
    same, other = stored(UltraDelta(rate=0.9, step=0.05)), stored(UltraDelta(rate=0.9, seed=1))
    assert (whole(same) == whole(task)).all()
    assert (whole(other) != whole(task)).any()


@pytest.mark.parametrize("knob", ["rms", "norm"])
def test_t_switch_is_fitted_to_a_size(knob):
    task = stored(FittedTSwitch("2 KiB", knob))
    assert 0.98 * 2048 <= task.stored_bytes <= 2048
    assert task.compressor["name"] == "tswitch"


@pytest.fixture
def tasks(tmp_path):
    torch.manual_seed(0)
    base = VisionTransformer().state_dict()
    folder = tmp_path / "vit" / "first"
    folder.mkdir(parents=True)
    save_file(base, tmp_path / "vit" / "base.safetensors")
    moved = {name: weights + 0.02 * torch.randn(weights.shape) for name, weights in base.items()}
    save_file(moved, folder / "tuned.safetensors")
    x = np.random.default_rng(0).integers(0, 256, (38, 28, 28), dtype=np.uint8)
    y = np.arange(38) % 3
    np.savez(folder / "data.npz", x_train=x[:32], y_train=y[:32], x_test=x[32:], y_test=y[32:])
    head = {"weight": torch.randn(3, WIDTH), "bias": torch.zeros(3)}
    save_file(head, folder / "head.safetensors")
    return tmp_path


def run(monkeypatch, *words):
    given = ["bench_compress", "--family", "vit", "--held-out", "3", *map(str, words)]
    monkeypatch.setattr(sys, "argv", given)
    command.main()


def test_the_command_measures_and_draws(tasks, monkeypatch, capsys):
    out, picture = tasks / "out.json", tasks / "out.svg"
    words = [
        "--tasks", tasks, "--methods", "budget", "ultradelta", "--settings",
        "1 %", "rate 0.9", "--seeds", "2", "--json", out, "--plot", picture,
    ]  # fmt: skip
    run(monkeypatch, *words)
    assert "mean over 1 tasks" in capsys.readouterr().out
    rows = json.loads(out.read_text())["rows"]
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("Budget", 0), ("UltraDelta", 0), ("UltraDelta", 1)
    ]  # fmt: skip
    assert 0.0097 <= rows[0]["share"] <= 0.01
    assert rows[1]["stored_bytes"] != rows[2]["stored_bytes"]
    assert picture.stat().st_size > 1000


def test_the_command_learns_and_goes_on_where_it_was(tasks, monkeypatch, capsys):
    out = tasks / "out.json"
    words = [
        "--tasks", tasks, "--methods", "flexswitch-sized", "flexswitch", "--steps", "1",
        "--settings", "0.8 %", "λ 0.1", "--json", out, "--seeds",
    ]  # fmt: skip
    run(monkeypatch, *words, 1)
    first = json.loads(out.read_text())
    found = {row["method"]: row for row in first["rows"]}
    assert set(found) == {f"FlexSwitch to size, {loss}" for loss in ("kl", "mse", "cka")} | {
        "FlexSwitch, kl"
    }
    for row in first["rows"]:
        assert 0 <= row["held_out"] <= 1
        assert row["method"] == "FlexSwitch, kl" or 0.0075 <= row["share"] <= 0.008
    monkeypatch.setattr(command.Bench, "reference", None)
    monkeypatch.setattr(command.Bench, "measure", None)
    run(monkeypatch, *words, 1)
    assert json.loads(out.read_text())["rows"] == first["rows"]
    assert "FlexSwitch to size, cka" in capsys.readouterr().out
