"""What tvbank is compared with is what its authors describe, by definitions written out."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tvbank
from tools.bench.compress._baselines import (
    BitDelta,
    ComPEFT,
    FittedTSwitch,
    Quantised,
    UltraDelta,
    quantise,
)
from tools.bench.multitask import _baselines
from tools.bench.multitask._baselines import emr_of
from tools.bench.multitask._trial import Row
from tvbank.storage import MemoryStorage

_CHANCE = np.random.default_rng(0)
UPDATE = {
    "large": _CHANCE.standard_normal((60, 70)).astype(np.float32),
    "small": np.float32(0.1) * _CHANCE.standard_normal((50, 40)).astype(np.float32),
    "vector": _CHANCE.standard_normal(30).astype(np.float32),
}


def stored(compressor):
    base = {name: np.zeros_like(entries) for name, entries in UPDATE.items()}
    return tvbank.create(MemoryStorage(), base=base).add("task", UPDATE, compressor)


def whole(task):
    return np.concatenate([task[name].to_dense().ravel() for name in UPDATE])


@pytest.mark.parametrize("scale", ["mean", "rms"])
def test_bitdelta_keeps_signs_and_one_magnitude(scale):
    task = stored(BitDelta(scale))
    for name in ("large", "small"):
        entries = UPDATE[name].astype(np.float64)
        size = np.abs(entries).mean() if scale == "mean" else np.sqrt(np.square(entries).mean())
        np.testing.assert_allclose(task[name].to_dense(), np.sign(entries) * size, rtol=1e-6)
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
    task = stored(UltraDelta(rate=0.9, step=0.05, factor=0.5))
    dense = {name: task[name].to_dense() for name in UPDATE}
    kept = {name: (dense[name] != 0).mean() for name in UPDATE}
    assert kept["small"] < kept["large"]
    assert abs((whole(task) != 0).mean() - 0.1) < 0.02
    codes = quantise(UPDATE["large"], 4)
    places = dense["large"] != 0
    np.testing.assert_allclose(dense["large"][places], 0.5 / (1 - 0.9) * codes[places], rtol=1e-6)
    shares = [places[codes == value].mean() for value in np.unique(codes[codes != 0])
              if (codes == value).sum() > 100]  # fmt: skip
    assert max(shares) - min(shares) < 0.02  # the same share of every group of equal values
    same, other = (stored(UltraDelta(rate=0.9, step=0.05, factor=0.5, seed=s)) for s in (0, 1))
    assert (whole(same) == whole(task)).all()
    assert (whole(other) != whole(task)).any()


@pytest.mark.parametrize("knob", ["rms", "norm"])
def test_t_switch_is_fitted_to_a_size(knob):
    task = stored(FittedTSwitch("2 KiB", knob))
    assert 0.98 * 2048 <= task.stored_bytes <= 2048
    assert (task.compressor["name"], task.compressor["knob"]) == ("tswitch", knob)


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
    base = {unit: torch.ones_like(entries) for unit, entries in drawn["one"].items()}
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
        scale = merged.scales[task]
        assert math.isclose(scale, whole / kept if kept else 0.0)
        for unit, weights in merged.state(base, task).items():
            assert torch.equal(weights, 1 + scale * merged.masks[task][unit] * merged.unified[unit])
    entries = sum(unit.numel() for unit in vector.values())
    assert merged.stored == 4 * entries + len(drawn) * (math.ceil(entries / 8) + 4)


def test_a_merge_is_scaled_instead_of_made_anew():
    """Searching for a scale merges once; the weights are those of a merge at that scale."""
    base = {name: torch.randn(12, 5) for name in ("one", "two")}
    bank = tvbank.create(MemoryStorage(), base=base)
    for task in ("a", "b", "c"):
        bank.add(task, {name: weights + torch.randn(12, 5) for name, weights in base.items()},
                 tvbank.Exact(), base=base)  # fmt: skip
    trial = SimpleNamespace(family=SimpleNamespace(base=base), tuning={})
    method, states = tvbank.Ties(density=0.5), []
    for _ in _baselines._scaled(trial, bank, base, method, (0.1, 2.0), states.append):
        pass
    for scale, state in zip((0.1, 2.0), states, strict=True):
        merged = tvbank.merge(bank, dict.fromkeys(bank, scale), base=base, method=method)
        assert all(torch.allclose(state[name], merged[name], atol=1e-6) for name in base)


def test_differences_are_paired():
    ours = Row("a", "", {"x": np.array([1.0, 1, 0, 1]), "y": np.array([1.0, 1])}, 5)
    other = Row("b", "", {"x": np.array([1.0, 0, 0, 1]), "y": np.array([1.0, 0])}, 7)
    apart, error = ours.less(other)
    assert apart == pytest.approx(0.375)
    assert error == pytest.approx(math.sqrt(0.25 / 4 + 0.5 / 2) / 2)
    assert ours.less(ours) == (0, 0)
