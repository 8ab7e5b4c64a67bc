"""LGS alone and BAS alone beside [F]'s equations, and the paper's schedule."""

import inspect

import numpy as np
import pytest
import small
import torch
from reference import quantise, soft
from torch.nn.functional import softplus

import tvbank
from tvbank.errors import UsageError
from tvbank.flexswitch.paper.gates import (
    KAPPA,
    LOGITS,
    WIDTHS,
    constants,
    gradient_of_scalars,
    initial,
    survey,
)
from tvbank.flexswitch.paper.kernels import reduce, reduce_whole, soften, soften_whole
from tvbank.flexswitch.paper.price import PaperPrice, temperature_at

CHANCE = np.random.default_rng(0)
BASE = np.float32(CHANCE.standard_normal(5000))
TUNED = np.float32(BASE + CHANCE.standard_normal(5000) ** 3 * (CHANCE.random(5000) < 0.8))
SLOPES = np.float32(CHANCE.standard_normal(5000))
ROW = np.array([0.4, -0.3, 0.8, 0.05, -0.02, 0.01, 0.03])
FACTS = survey("unit", BASE, TUNED)


def equation(part, row, heat):
    """Weights and M of a part alone, functions of a unit's scalars [7], in float64."""
    base, tuned = torch.from_numpy(BASE), torch.from_numpy(TUNED)
    delta = (tuned - base).double()
    if part == "lgs":  # θ + softplus(κ)·M⊙τ
        gate = soft(base, tuned, FACTS, row, heat)[1]
        return base.double() + softplus(row[2]) * gate * delta, gate
    shares = torch.softmax(row[3:] / heat, 0)  # θ + Q_M(τ)
    mixed = sum(s * quantise(delta, FACTS, b) for s, b in zip(shares, WIDTHS, strict=True))
    gate = (delta != 0).double()
    return base.double() + gate * mixed, gate


@pytest.mark.parametrize("part", ["lgs", "bas"])
@pytest.mark.parametrize("heat", [1.0, 0.1])
def test_weights_and_gradients_are_the_equations(part, heat):
    table = constants(FACTS, ROW, heat, gated=part != "bas")
    scale = np.float32(softplus(torch.tensor(ROW[2]))) if part == "lgs" else np.float32(1)
    work, add = (soften_whole, reduce_whole) if part == "lgs" else (soften, reduce)
    weights, gates, sums = np.empty_like(BASE), np.zeros(3), np.zeros(6)
    work(BASE, TUNED, scale, table, weights, gates)
    add(BASE, TUNED, SLOPES, table, sums)
    row = ROW.copy()
    if part == "bas":
        row[KAPPA] = initial(1)[0, KAPPA]  # where softplus is 1, and stays
    found = gradient_of_scalars(row, heat, sums)

    scalars = torch.tensor(row, requires_grad=True)
    wanted, gate = equation(part, scalars, heat)
    (wanted @ torch.from_numpy(SLOPES).double()).backward()
    np.testing.assert_allclose(weights, wanted.detach(), rtol=0, atol=1e-4 / heat)
    np.testing.assert_allclose(gates[0], float(gate.sum().detach()), rtol=1e-4)
    learned = [0, 1, KAPPA] if part == "lgs" else [3, 4, 5, 6]
    size = float(np.abs(scalars.grad.numpy()).max())
    np.testing.assert_allclose(found[learned], scalars.grad.numpy()[learned], atol=2e-4 * size)
    others = [place for place in range(7) if place not in (*learned, KAPPA)]
    np.testing.assert_allclose(found[others], 0, atol=1e-5 * size)


@pytest.mark.parametrize("part", ["lgs", "bas"])
def test_prices_are_their_half_of_the_objective(part):
    rows, sizes = np.stack([ROW, -ROW]), np.array([4000.0, 900.0])
    gates, full = np.array([[1000.0, 300, 200], [450, 50, 60]]), np.array([True, True])
    total, gradient = PaperPrice(sizes, full, part).of(rows, 0.5, gates)
    if part == "lgs":
        assert total == pytest.approx(1450 / 4900)
        assert not gradient[:, LOGITS].any()
        assert gradient[:, :2].all()
    else:
        shares = torch.softmax(torch.tensor(rows[:, LOGITS]) / 0.5, 1)
        widths = shares @ torch.tensor(WIDTHS).double()
        assert total == pytest.approx(float(widths.sum()) / (2 * 8))
        assert gradient[:, LOGITS].all()


def test_what_is_stored():
    base = small.model()
    bank, tuned = small.bank(base), small.tuned(base)
    for part in ("lgs", "bas"):
        options = {"steps": 60, "batch": 16, "lam": 2.0, "ablation": part}
        task = bank.add(part, tuned, tvbank.FlexSwitch(base, small.inputs(), **options))
        assert task.compressor["ablation"] == part
        before = base.state_dict()["2.weight"].numpy()
        kept, delta = task["2.weight"].to_dense(), tuned["2.weight"].numpy() - before
        there = kept != 0
        if part == "lgs":
            ratio = kept[there] / delta[there]
            np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
            assert 0 < there.mean() < 1
            assert np.abs(delta[there]).min() > np.median(np.abs(delta[~there]))
        else:
            assert there[delta != 0].all()
            assert len(np.unique(kept)) <= 2 ** WIDTHS[-1]
            assert (np.sign(kept) == np.sign(delta)).all()


def test_it_belongs_to_the_papers_objective():
    base, inputs = small.model(), small.inputs()
    for wrong in ({"budget": "1 %"}, {"objective": "bytes"}):
        with pytest.raises(UsageError, match="belongs to the paper's objective"):
            tvbank.FlexSwitch(base, inputs, ablation="lgs", **wrong)
    with pytest.raises(UsageError, match="'lgs' or 'bas'"):
        tvbank.FlexSwitch(base, inputs, ablation="sass")


def test_the_papers_schedule():
    defaults = inspect.signature(tvbank.FlexSwitch).parameters
    assert (defaults["steps"].default, defaults["batch"].default) == (500, 32)
    for step in (0, 9, 10, 255, 499):
        assert temperature_at(step, 500) == pytest.approx(0.9 ** (step // 10))
