"""Baselines of the merge benchmark against plain implementations, and which examples see what."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import tvbank
from tools.bench.multitask import _routed
from tools.bench.multitask._baselines import SCALES, _scaled, emr_of
from tools.bench.multitask._trial import (
    Row,
    averaged,
    bank_of,
    hits_of,
    loader,
    switched_hits,
    trial_of,
)
from tools.bench.realtasks import load
from tools.bench.realtasks._families import WIDTH, VisionTransformer

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
    return trial_of(load(root, "vit"), routing=5, tuning=4, tests=6)


def test_no_example_serves_two_purposes(trial):
    for name, task in trial.tasks.items():
        parts = [trial.examples(1)[name], trial.tuning[name].x, trial.tests[name].x]
        assert [len(part) for part in parts] == [5, 4, 6]
        assert len({image.tobytes() for part in parts for image in part}) == 15
        assert len(task.x_test) == 8
    drawn = [trial.examples(seed)["first"].tobytes() for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_scores_of_an_exact_bank_are_those_of_the_files(trial, tmp_path):
    bank = bank_of(trial, tmp_path / "bank", lambda _: tvbank.Exact())
    model = loader(trial)
    direct = hits_of(trial, trial.tests, lambda name: model(tvbank.merge(bank, {name: 1.0})))
    found = switched_hits(trial, trial.tests, bank)
    assert {name: some.tolist() for name, some in found.items()} == {
        name: some.tolist() for name, some in direct.items()
    }
    row = Row("method", "", direct, 0)
    assert row.mean == sum(row.scores.values()) / 2


def test_differences_are_paired():
    ours = Row("a", "", {"x": np.array([1.0, 1, 0, 1]), "y": np.array([1.0, 1])}, 5, seeds=(0.5,))
    other = Row("b", "", {"x": np.array([1.0, 0, 0, 1]), "y": np.array([1.0, 0])}, 7)
    apart, error = ours.less(other)
    assert apart == pytest.approx(0.375)
    assert error == pytest.approx(math.sqrt(0.25 / 4 + 0.5 / 2) / 2)
    assert ours.less(ours) == (0, 0)
    again = Row.from_json(json.loads(json.dumps(ours.to_json())))
    assert again.to_json() == ours.to_json()
    both = averaged([replace(row, routed=1.0) for row in (ours, other)])
    assert both.seeds == (ours.mean, other.mean)
    assert both.mean == pytest.approx((ours.mean + other.mean) / 2)
    assert both.stored == 6


@pytest.mark.parametrize("tasks", [1, 2, 0])
def test_batches_hold_every_test_once(trial, monkeypatch, tasks):
    monkeypatch.setattr(_routed, "_SIZES", {1: 4, 2: 4, 0: 8})
    batches = _routed._batches(trial, tasks, 0)
    assert [len(batch.owners) for batch in batches].count(0) == 0
    seen = sorted((o, p) for b in batches for o, p in zip(b.owners, b.places, strict=True))
    assert seen == [(name, place) for name in ("first", "second") for place in range(6)]
    for batch in batches:
        assert len(set(batch.owners)) == (tasks or 2)
        for x, owner, place in zip(batch.x, batch.owners, batch.places, strict=True):
            assert (x == trial.tests[owner].x[place]).all()


def test_routed_rows_are_those_of_the_model_that_is_told(trial, tmp_path):
    bank = bank_of(trial, tmp_path / "bank", lambda _: tvbank.Exact())
    known = switched_hits(trial, trial.tests, bank)
    drawn = {seed: _routed.routers(trial, seed, lambda _: None) for seed in (0, 1)}
    way = _routed.Way("Auto-Switch", "discriminant", tasks=1, pool=True)
    row = _routed.routed(trial, bank, " of x", way, drawn, 0)
    assert row.method == "Auto-Switch of x"
    assert len(row.seeds) == 2
    for name in trial.tasks:
        assert row.own_head[name].shape == row.hits[name].shape
        assert (row.hits[name] <= row.own_head[name]).all()
        assert sum(row.confusion[name].values()) == 12
        if row.confusion[name] == {name: 12}:
            assert row.hits[name].tolist() == known[name].tolist()


def test_a_merge_is_scaled_instead_of_made_anew(trial, tmp_path):
    bank = bank_of(trial, tmp_path / "bank", lambda _: tvbank.Exact())
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
