"""Baselines of the merge benchmark against plain implementations, and which examples see what."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import tvbank
from tools.bench_merge._banks import bank_of, loader, switched_scores
from tools.bench_merge._emr import emr_of
from tools.bench_merge._static import SCALES, _scaled
from tools.bench_merge._trial import Row, scores_of, trial_of
from tools.realtasks import load
from tools.realtasks._vit import WIDTH, VisionTransformer

quarters = st.integers(-6, 6).map(lambda number: number / 4)


@st.composite
def vectors(draw):
    """Task -> unit -> difference, of a few entries."""
    sizes = {"a": draw(st.integers(1, 5)), "b": draw(st.integers(1, 5))}
    return {
        task: {
            unit: torch.tensor(draw(st.lists(quarters, min_size=size, max_size=size)))
            for unit, size in sizes.items()
        }
        for task in ("one", "two", "three")[: draw(st.integers(1, 3))]
    }


@given(vectors())
def test_emr_is_what_the_paper_describes(drawn):
    merged = emr_of(drawn)
    for task, vector in drawn.items():
        kept = whole = 0.0
        for unit, entries in vector.items():
            for place, entry in enumerate(entries.tolist()):
                column = [other[unit][place].item() for other in drawn.values()]
                sign = (sum(column) > 0) - (sum(column) < 0)
                agreeing = [abs(each) for each in column if each * sign > 0]
                elected = sign * max(agreeing, default=0.0)
                assert merged.unified[unit][place] == elected
                assert bool(merged.masks[task][unit][place]) == (entry * elected > 0)
                kept += abs(elected) * (entry * elected > 0)
                whole += abs(entry)
        assert math.isclose(merged.scales[task], whole / kept if kept else 0.0)
    entries = sum(unit.numel() for unit in vector.values())
    assert merged.stored == 4 * entries + len(drawn) * (math.ceil(entries / 8) + 4)


@given(vectors())
def test_emr_of_one_task_is_the_task(drawn):
    alone = {"one": drawn["one"]}
    zero = {unit: torch.zeros_like(entries) for unit, entries in drawn["one"].items()}
    restored = emr_of(alone).state(zero, "one")
    assert all(torch.equal(restored[unit], entries) for unit, entries in drawn["one"].items())


@pytest.fixture(scope="module")
def trial(tmp_path_factory):
    """Two tasks of the image family that were not trained, only moved."""
    root = tmp_path_factory.mktemp("tasks")
    torch.manual_seed(0)
    chance = np.random.default_rng(0)
    base = VisionTransformer().state_dict()
    (root / "vit").mkdir()
    save_file(base, root / "vit" / "base.safetensors")
    for name in ("first", "second"):
        folder = root / "vit" / name
        folder.mkdir()
        tuned = {
            unit: weights + 0.02 * torch.randn(weights.shape) for unit, weights in base.items()
        }
        save_file(tuned, folder / "tuned.safetensors")
        x = chance.integers(0, 256, (20, 28, 28), dtype=np.uint8)
        y = chance.integers(0, 3, 20)
        np.savez(folder / "data.npz", x_train=x[:12], y_train=y[:12], x_test=x[12:], y_test=y[12:])
        head = {"weight": torch.randn(3, WIDTH), "bias": torch.zeros(3)}
        save_file(head, folder / "head.safetensors")
    return trial_of(load(root, "vit"), routing=5, choosing=2, tuning=4, tests=6)


def test_no_example_serves_two_purposes(trial):
    for name, task in trial.tasks.items():
        parts = [
            trial.routing[name], trial.choosing[name], trial.tuning[name].x, trial.tests[name].x
        ]  # fmt: skip
        assert [len(part) for part in parts] == [5, 2, 4, 6]
        assert len({image.tobytes() for part in parts for image in part}) == 17
        assert len(task.x_test) == 8


def test_scores_of_an_exact_bank_are_those_of_the_files(trial, tmp_path):
    bank = bank_of(trial, tmp_path / "bank", tvbank.Exact())
    model = loader(trial)
    direct = scores_of(trial, trial.tests, lambda name: model(tvbank.merge(bank, {name: 1.0})))
    assert switched_scores(trial, dict(trial.tests), bank) == direct
    assert Row("method", "", direct, 0).mean == sum(direct.values()) / 2


def test_a_merge_is_scaled_instead_of_made_anew(trial, tmp_path):
    bank = bank_of(trial, tmp_path / "bank", tvbank.Exact())
    seen = []

    def keep(state):
        seen.append(state)
        return trial.family.model()

    base = trial.family.model().state_dict()
    method = tvbank.Ties(density=0.5)
    scaled = list(_scaled(trial, bank, base, method, SCALES[:2], keep))
    assert [scale for scale, _ in scaled] == [0.1, 0.2]
    for scale, state in zip(SCALES, seen, strict=False):
        merged = tvbank.merge(bank, dict.fromkeys(bank, scale), method=method)
        assert all(torch.allclose(state[unit], merged[unit], atol=1e-7) for unit in merged)
