"""What a budget counts of a unit, whatever blocks and ranges it is read in."""

import numpy as np
import pytest

from tvbank.compress import lossy
from tvbank.compress.budget.choices import count_magnitudes, list_choices, weigh
from tvbank.compress.budget.drawing import HALVES, Draw, draw, row_width, survey_rows
from tvbank.compress.lossy import Difference

POWERS = range(len(HALVES))


@pytest.fixture(params=[(64, 16), (5, 3), (1 << 22, 1 << 16)])
def pieces(request, monkeypatch):
    monkeypatch.setattr(lossy, "RANGE", request.param[0])
    monkeypatch.setattr(lossy, "BLOCK", request.param[1])


def unit(size, seed=0):
    entries = np.asarray(np.random.default_rng(seed).standard_t(3, size), np.float32)
    entries[entries > 2] = 0
    return entries


def difference(entries, name="unit"):
    return Difference(name, np.zeros_like(entries), entries)


def surveyed(entries, width):
    delta = difference(entries)
    rows = survey_rows(delta, width, map)
    return rows, count_magnitudes(delta, rows, map)


@pytest.mark.parametrize(
    ("shape", "width"),
    [((7, 13), 13), ((1, 50), 50), ((50, 1), 50), ((4, 3, 5), 15), ((1, 4, 5), 5), ((60,), 60),
     ((), 1), ((0, 3), 3), ((3, 0), 1), ((1, 1), 1)],
)  # fmt: skip
def test_rows(shape, width):
    assert row_width(shape) == width


@pytest.mark.parametrize("size", [0, 1, 50, 91])
def test_every_entry_is_in_a_bin_and_every_row_keeps_its_length(pieces, size):
    entries = unit(size)
    entries[20:26] *= 100
    rows, spreads = surveyed(entries, 13)
    magnitudes = np.abs(entries.astype(float))
    np.testing.assert_allclose(rows.energy, np.square(magnitudes).sum(), rtol=1e-12)
    for power, found in enumerate(spreads):
        drawn = magnitudes ** (HALVES[power] / 2) * np.repeat(rows.factors[power], 13)[:size]
        assert found.counts.sum() == np.count_nonzero(entries)
        np.testing.assert_allclose(found.sums.sum(), magnitudes.sum(), rtol=1e-9)
        np.testing.assert_allclose(found.means @ found.counts, drawn.sum(), rtol=1e-9)
        assert (np.diff(found.means) < 0).all()
        assert found.energy == rows.energy
        for start in range(0, size, 13):
            row = slice(start, start + 13)
            np.testing.assert_allclose(
                drawn[row] @ magnitudes[row], magnitudes[row] @ magnitudes[row], rtol=1e-9
            )


def test_a_unit_of_zeros_has_nothing_to_keep():
    _, spreads = surveyed(np.zeros(9, np.float32), 3)
    assert list_choices(spreads).levels.tolist() == [0]


@pytest.mark.parametrize(
    ("power", "levels", "step"), [(0, 1, 8.0), (0, 1, 1.0), (0, 2, 1.5), (0, 8, 0.3), (1, 1, 8.0),
                                  (2, 1, 12.0)]
)  # fmt: skip
def test_what_is_expected_of_a_draw_is_its_mean(power, levels, step):
    entries = unit(2000)
    rows, spreads = surveyed(entries, 40)
    found = weigh(spreads[power], levels, np.array([step]))
    how = Draw(power, step, levels, float(found.sizes[0]))
    drawn = [draw(difference(entries, f"{n}"), rows, how, 0, 2000) for n in range(200)]
    kept = np.mean([np.count_nonzero(one) for one in drawn])
    assert abs(kept - found.kept[0]) < 0.03 * found.kept[0]
    # The share a of the length along the task vector, and the harm that follows from it.
    along = np.mean([one @ entries for one in drawn]) / rows.energy
    assert abs(along - (1 - found.harm[0])) < 0.03


def test_harm_falls_with_smaller_steps_and_more_levels():
    _, spreads = surveyed(unit(2000), 40)
    choices = list_choices(spreads)
    assert choices.harm[0] == 1
    assert ((choices.harm >= 0) & (choices.harm <= 1)).all()
    least = [choices.harm[choices.levels == levels].min() for levels in (1, 2, 8, 32, 128)]
    assert least == sorted(least, reverse=True)
    assert least[-1] < 1e-5


def test_higher_powers_are_better_where_little_is_kept():
    _, spreads = surveyed(np.random.default_rng(0).standard_normal(20000).astype(np.float32), 100)
    choices = list_choices(spreads)

    def best(density):
        harms = [
            choices.harm[
                (choices.powers == power)
                & (choices.levels == 1)
                & (choices.kept <= density * 20000)
            ].min()
            for power in POWERS
        ]
        return int(np.argmin(harms))

    assert [best(density) for density in (0.003, 0.3)] == [2, 0]
