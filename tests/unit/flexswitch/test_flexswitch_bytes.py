"""FlexSwitch by bytes: what gradients say of noise, what bytes buy, and which draw is kept."""

import numpy as np
import pytest
import small
import torch
from watching import Seen

import tvbank
from tvbank.compress import Difference
from tvbank.compress.budget.candidates import Kept, entries_of
from tvbank.compress.budget.choices import draw_with
from tvbank.compress.budget.drawing import Draw, survey_rows
from tvbank.errors import UsageError
from tvbank.flexswitch.bytes import units
from tvbank.flexswitch.bytes.frontier import Frontier, bracket
from tvbank.flexswitch.bytes.gradients import correlate
from tvbank.storage import MemoryStorage

RNG = np.random.default_rng(0)
WIDTH = 16


def difference(values):
    flat = np.asarray(values, np.float32)
    return Difference("unit", np.zeros_like(flat), flat)


def sums_of(delta, kept, slopes):
    """Gradients in the logarithms of step and scale, and what was drawn."""
    drawn, found = entries_of(delta, kept)(0, delta.size), np.zeros(2)
    factors = kept.rows.factors[0] / kept.how.step
    correlate(delta.block(0, delta.size), drawn, slopes(drawn), 0, kept.rows.width, 2, factors,
              float(kept.how.levels), kept.how.size, found)  # fmt: skip
    return found, drawn


def test_gradients_are_on_average_those_of_the_expected_loss():
    # Of ½ Σ c (w - τ)² with w drawn: the derivative of its expectation, written out by hand.
    values = RNG.uniform(-0.45, 0.45, 6 * WIDTH)
    values[::17] *= 3 / np.abs(values[::17])  # above the only level
    delta, curve = difference(values), RNG.uniform(0.5, 2, values.size).astype(np.float32)
    rows, size = survey_rows(delta, WIDTH, map), 1.3
    tau = delta.block(0, delta.size).astype(np.float64)
    means = []
    for turn in range(4000):
        kept = Kept(rows, Draw(0, 1.0, 1, size, turn))
        means.append(
            sums_of(delta, kept, lambda drawn: curve * (drawn - tau).astype(np.float32))[0]
        )
    reached = np.abs(tau)
    inside = reached < 1
    of_step = 0.5 * (curve * size**2 * reached)[inside].sum()  # half the curvature, d variance
    of_step += (curve * size * (size - reached))[~inside].sum()
    mean_square = np.where(inside, reached, 1) * size**2
    of_scale = (curve * (mean_square - np.minimum(reached, 1) * size * reached)).sum()
    spread = np.std(means, axis=0) / np.sqrt(len(means))
    assert np.all(np.abs(np.mean(means, axis=0) - [of_step, of_scale]) < 4 * spread)
    assert np.all(spread < 0.05 * np.abs([of_step, of_scale]))


def test_gradients_are_the_same_in_pieces_and_zeros_have_none():
    delta = difference(RNG.standard_normal(10 * WIDTH) * (RNG.random(10 * WIDTH) < 0.7))
    kept = Kept(survey_rows(delta, WIDTH, map), Draw(0, 0.8, 2, 0.9, 3))
    slopes = RNG.standard_normal(delta.size).astype(np.float32)
    whole, drawn = sums_of(delta, kept, lambda _: slopes)
    parts = np.zeros(2)
    for start, stop in ((0, 37), (37, 100), (100, delta.size)):
        correlate(delta.block(start, stop), drawn[start:stop], slopes[start:stop], start, WIDTH, 2,
                  kept.rows.factors[0] / 0.8, 2.0, 0.9, parts)  # fmt: skip
    np.testing.assert_allclose(parts, whole, rtol=1e-12)
    silent = np.where(delta.block(0, delta.size) == 0, 1e6, 0).astype(np.float32)
    assert np.array_equal(sums_of(delta, kept, lambda _: silent)[0], [0, 0])


@pytest.fixture(scope="module")
def frontiers():
    """Of every unit of a small fine-tune."""
    base, found = small.model(), []

    class Spy(tvbank.Budget):
        def plan(self, pairs):
            found.extend(units.survey(pairs, unit) for unit in pairs.units)
            return super().plan(pairs)

    small.bank(base).add("t", small.tuned(base), Spy("30 bits/param"))
    return [frontier for frontier in map(Frontier.of, found) if frontier is not None]


def test_more_bytes_never_harm_and_buy_what_they_say(frontiers):
    assert len(frontiers) == len(small.model().state_dict())
    for frontier in frontiers:
        harm = frontier.candidate.choices.harm[frontier.places]
        assert np.all(np.diff(frontier.bytes) >= 0)
        assert np.all(np.diff(harm) < 0)
        for size in np.linspace(*frontier.bytes[[0, -1]], 20):
            how = frontier.keep(float(size)).how
            above = frontier.bytes[min(np.searchsorted(frontier.bytes, size), len(harm) - 1)]
            assert 0.98 * size - 2 < frontier.bytes_of(how) < above + 1
            spread = frontier.candidate.spreads[how.power]
            assert how == draw_with(spread, how.levels, how.step)


def test_a_unit_that_did_not_change_has_no_frontier():
    base, found = small.model(), []

    class Spy(tvbank.Budget):
        def plan(self, pairs):
            found.extend(units.survey(pairs, unit) for unit in pairs.units)
            return super().plan(pairs)

    state = small.tuned(base) | {"2.bias": base.state_dict()["2.bias"]}
    small.bank(base).add("t", state, Spy("30 bits/param"))
    assert [each.name for each in found if Frontier.of(each) is None] == ["2.bias"]


@pytest.mark.parametrize("start", [0.001, 0.5, 7.0])
def test_a_bracket_ends_within_the_budget_or_around_it(start):
    below, above = bracket(lambda change: start * np.exp(change), 0.985, 1.0)
    assert above is None
    assert 0.985 <= start * np.exp(below) <= 1
    jumps = bracket(lambda change: 0.5 if start * np.exp(change) < 1 else 2.0, 0.985, 1.0)
    assert jumps[0] < -np.log(start) < jumps[1]
    assert jumps[1] - jumps[0] < 0.1


def test_a_bracket_gives_up_where_nothing_larger_or_smaller_is_there():
    assert bracket(lambda _: 0.5, 0.985, 1.0)[1] is None
    assert bracket(lambda _: 2.0, 0.985, 1.0)[0] is None


def learn(base, **options):
    bank, seen = small.bank(base), Seen()
    given = {"steps": 30, "batch": 16, "objective": "bytes", "lam": 0.05} | options
    flex = tvbank.FlexSwitch(base, small.inputs(), **given)
    task = bank.add("t", small.tuned(base), flex, progress=seen)
    return bank, task, seen.details["learning"]


def test_entries_keep_their_sign_and_the_weight_of_the_loss_decides_the_size():
    base, sizes = small.model(), []
    for lam in (1.0, 10.0, 100.0):
        _, task, seen = learn(base, lam=lam, steps=60)
        sizes.append(task.stored_bytes)
        assert 0.8 * task.stored_bytes < seen[-1].bytes < 1.25 * task.stored_bytes
        for name, tuned in small.tuned(base).items():
            delta, kept = (tuned - base.state_dict()[name]).numpy(), task[name].to_dense()
            assert np.all(np.sign(kept[kept != 0]) == np.sign(delta[kept != 0]))
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_budget_goes_to_the_units_that_the_outputs_depend_on():
    class Uneven(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.strong, self.weak = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)

        def forward(self, x):
            return self.strong(x) + 0.01 * self.weak(x)

    torch.manual_seed(0)
    base, x = Uneven(), torch.randn(64, 64)
    state = {name: t + 0.1 * torch.randn_like(t) for name, t in base.state_dict().items()}
    bank = tvbank.create(MemoryStorage(), base=base.state_dict())
    flex = tvbank.FlexSwitch(base, x, loss="mse", steps=40, budget="3 bits/param")
    learned, alike = bank.add("t", state, flex), bank.add("u", state, tvbank.Budget("3 bits/param"))
    strong, weak = (np.count_nonzero(learned[f"{unit}.weight"].to_dense())
                    for unit in ("strong", "weak"))  # fmt: skip
    assert strong > 1.2 * np.count_nonzero(alike["strong.weight"].to_dense())
    assert weak < 0.8 * np.count_nonzero(alike["weak.weight"].to_dense())


def test_of_several_draws_the_nearest_is_stored(monkeypatch):
    base, x = small.model(), small.inputs()
    losses = []
    for draws in (1, 16):
        monkeypatch.setattr(units, "_LAST_DRAWS", draws)
        bank, _, _ = learn(base, budget="12 bits/param", loss="mse")
        logits = []
        for state in (small.tuned(base), tvbank.merge(bank, {"t": 1.0}, base=base.state_dict())):
            model = small.model()
            model.load_state_dict(state)
            logits.append(model(x).detach())
        losses.append(float((logits[0] - logits[1]).square().mean()))
    assert losses[1] < losses[0]


def test_a_loss_without_a_finite_gradient_names_the_unit():
    class Root(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).sub(self.inner(x)).abs().sqrt() + self.inner(x)

    base = small.model()
    with pytest.raises(UsageError, match=r"no finite gradient in unit '.*' at step 1"):
        small.bank(base).add("t", small.tuned(base), tvbank.FlexSwitch(
            Root(base), small.inputs(), steps=2, batch=8, objective="bytes"))  # fmt: skip
