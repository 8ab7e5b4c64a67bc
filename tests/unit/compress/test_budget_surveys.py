"""What a budget counts of a unit, whatever blocks and ranges it is read in."""

import numpy as np
import pytest

from tvbank.compress import _magnitudes
from tvbank.compress._choices import list_choices, weigh
from tvbank.compress._difference import Difference
from tvbank.compress._draw import Draw, draw
from tvbank.compress._magnitudes import count_magnitudes


def unit(size, seed=0):
    entries = np.asarray(np.random.default_rng(seed).standard_t(3, size), np.float32)
    entries[entries > 2] = 0
    return entries


def difference(entries, name="unit"):
    return Difference(name, np.zeros_like(entries), entries)


@pytest.mark.parametrize("pieces", [(64, 16), (5, 3), (1 << 22, 1 << 16)])
@pytest.mark.parametrize("size", [0, 1, 50, 91])
def test_bins_hold_every_entry(monkeypatch, pieces, size):
    monkeypatch.setattr(_magnitudes, "RANGE", pieces[0])
    monkeypatch.setattr(_magnitudes, "BLOCK", pieces[1])
    entries = unit(size)
    found = count_magnitudes(difference(entries), map)
    assert found.counts.sum() == np.count_nonzero(entries)
    np.testing.assert_allclose(found.sums.sum(), np.abs(entries).sum(dtype=float), rtol=1e-12)
    np.testing.assert_allclose(found.energy, np.square(entries, dtype=float).sum(), rtol=1e-12)
    assert (np.diff(found.bins) < 0).all()
    means = found.sums / found.counts
    assert (np.diff(means) < 0).all()


def test_a_unit_of_zeros_has_nothing_to_keep():
    choices = list_choices(count_magnitudes(difference(np.zeros(9, np.float32)), map))
    assert choices.levels.tolist() == [0]


@pytest.mark.parametrize(("levels", "step"), [(1, 8.0), (1, 1.0), (2, 1.5), (8, 0.3)])
def test_what_is_expected_of_a_draw_is_its_mean(levels, step):
    entries = unit(2000)
    spread = count_magnitudes(difference(entries), map)
    found = weigh(spread, levels, np.array([step]))
    how = Draw(step, levels, float(found.sizes[0]))
    drawn = [draw(difference(entries, f"{n}"), 40, how, 0, 2000) for n in range(200)]
    kept = np.mean([np.count_nonzero(one) for one in drawn])
    assert abs(kept - found.kept[0]) < 0.02 * found.kept[0]
    # The share a of the length along the task vector, and the harm that follows from it.
    along = np.mean([one @ entries for one in drawn]) / spread.energy
    assert abs(along - (1 - found.harm[0])) < 0.03


def test_harm_falls_with_smaller_steps_and_more_levels():
    choices = list_choices(count_magnitudes(difference(unit(2000)), map))
    assert choices.harm[0] == 1
    assert ((choices.harm >= 0) & (choices.harm <= 1)).all()
    least = [choices.harm[choices.levels == levels].min() for levels in (1, 2, 8, 32, 128)]
    assert least == sorted(least, reverse=True)
    assert least[-1] < 1e-5
