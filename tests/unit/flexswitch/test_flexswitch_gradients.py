"""The kernels give what plain autograd gives, for soft weights and for every scalar."""

import numpy as np
import pytest
import torch
from reference import soft

from tvbank.flexswitch.paper.gates import (
    KAPPA,
    WIDTHS,
    constants,
    gradient_of_scalars,
    shares,
    softplus,
    survey,
)  # fmt: skip
from tvbank.flexswitch.paper.kernels import reduce, soften
from tvbank.flexswitch.paper.price import PaperPrice, entropy

#: float32 sums run over blocks of 4096 entries, at least four sums side by side.
ADDITIONS = 4096 // 4


def frozen(values):
    array = np.asarray(values, np.float32)
    array.flags.writeable = False
    return array


def entries(kind, chance, size=9000):
    """Differences of several kinds; float64 keeps their sums exact enough to compare."""
    normal = chance.standard_normal(size)
    return {
        "normal": normal,
        "sparse": normal * (chance.random(size) < 0.1),
        "positive": np.abs(normal),
        "negative": -np.abs(normal),
        "lopsided": np.where(normal > 0, 5 * normal, normal),
        "equal": np.where(normal > 0, 0.5, -0.25),
        "one": normal[:1],
        "tiny": normal * 1e-12,
    }[kind]


def off_edges(delta, facts):
    """Entries that no rounding moves to the next bin of 8 bits; the largest, whose bin is clear."""
    place = (delta + facts.greatest[1]) / sum(facts.greatest) * 256
    largest = np.isclose(np.abs(delta), np.where(delta > 0, *facts.greatest))
    return largest | (np.abs(place - np.rint(place)) > 1e-3)


KINDS = ["normal", "sparse", "positive", "negative", "lopsided", "equal", "one", "tiny"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.02])
def test_soft_weights_and_gradients_are_those_of_autograd(kind, temperature):
    chance = np.random.default_rng(0)
    delta = entries(kind, chance)
    facts = survey("unit", frozen(np.zeros(delta.size)), frozen(delta))
    delta = delta[off_edges(delta, facts)]
    base, tuned = frozen(np.zeros(delta.size)), frozen(delta)
    row = np.array([0.4, -0.3, 0.8, 0.05, -0.02, 0.01, 0.03])
    table = constants(facts, row, temperature)
    weights, sums = np.empty(delta.size, np.float32), np.zeros(3)
    soften(base, tuned, np.float32(softplus(row[KAPPA])), table, weights, sums)
    slopes = frozen(chance.standard_normal(delta.size))
    parts = np.zeros(6)
    reduce(base, tuned, slopes, table, parts)
    found = gradient_of_scalars(row, temperature, parts)

    scalars = torch.tensor(row, requires_grad=True)
    wanted, gate = soft(torch.from_numpy(base.copy()), torch.from_numpy(tuned.copy()), facts,
                        scalars, temperature)  # fmt: skip
    (wanted @ torch.from_numpy(slopes.copy()).double()).backward()
    scale = float(wanted.detach().abs().max()) or 1.0
    error = 2e-6 * scale / temperature
    np.testing.assert_allclose(weights, wanted.detach().numpy(), rtol=0, atol=error)
    # Errors of an addition, 2^-24 of the sum, go both ways and grow as a root; those of equal gates
    # all go one way.
    rounding = 2.0**-24 * (ADDITIONS if kind == "equal" else ADDITIONS**0.5)
    np.testing.assert_allclose(
        sums[0], float(gate.detach().sum()), rtol=rounding + 2e-6 / temperature
    )
    # Terms of both signs cancel: what counts is the error beside the sum of their magnitudes.
    size = np.abs(slopes).sum() * scale
    np.testing.assert_allclose(
        found, scalars.grad.numpy(), rtol=1e-5, atol=1e-7 * size / temperature
    )


def test_prices_have_the_gradient_of_autograd():
    temperature, sizes, full = 0.3, np.array([4000.0, 900.0, 50.0]), np.array([True, True, False])
    chance = np.random.default_rng(0)
    rows = chance.standard_normal((3, 7)) * 0.3
    deltas = [entries("normal", chance, 4000), entries("lopsided", chance, 900)]
    price_of = PaperPrice(sizes, full)
    gates = np.zeros((3, 3))
    scalars = torch.tensor(rows, requires_grad=True)
    opened, widths = [], []
    for number, delta in enumerate(deltas):
        base, tuned = frozen(np.zeros(delta.size)), frozen(delta)
        facts = survey("unit", base, tuned)
        table = constants(facts, rows[number], temperature)
        soften(base, tuned, np.float32(1), table, np.empty(delta.size, np.float32), gates[number])
        gate = soft(torch.zeros(delta.size), torch.from_numpy(tuned.copy()), facts,
                    scalars[number], temperature)[1]  # fmt: skip
        opened.append(gate.sum())
        chosen = torch.softmax(scalars[number, 3:] / temperature, 0)
        widths.append(chosen @ torch.tensor(WIDTHS).double())
    price, found = price_of.of(rows, temperature, gates)
    wanted = sum(opened) / sizes.sum() + sum(widths) / (2 * 8)
    wanted.backward()
    np.testing.assert_allclose(price, float(wanted.detach()), rtol=1e-5)
    np.testing.assert_allclose(found, scalars.grad.numpy(), rtol=1e-4, atol=1e-9)


def test_entropy_and_shares():
    np.testing.assert_allclose(entropy(np.array([0.5, 0.9, 0.11])), [1, 1, 0.49992], rtol=1e-4)
    np.testing.assert_allclose(shares(np.array([1e6, 0, 0, 0.0]), 1e-3), [1, 0, 0, 0], atol=1e-9)
