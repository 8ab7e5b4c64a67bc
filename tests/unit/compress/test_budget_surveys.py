"""What a budget counts of a unit, whatever blocks and ranges it is read in."""

import numpy as np
import pytest

import tvbank
from tvbank.compress import TSwitch, lossy
from tvbank.compress.budget.candidates import densities_for
from tvbank.compress.budget.choices import count_magnitudes, list_choices, weigh
from tvbank.compress.budget.drawing import HALVES, Draw, draw, row_width, survey_rows
from tvbank.compress.lossy import Difference
from tvbank.storage import MemoryStorage

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


@pytest.mark.parametrize("bits", [1e-6, 0.08, 0.32, 1.3, 9.0])
def test_a_size_is_asked_about_below_and_above_what_it_allows(bits):
    low, high = densities_for(bits)
    middle = 4 * low
    assert 0 < low < high <= 0.6
    assert high == min(4 * middle, 0.6)
    entropy = -middle * np.log2(middle) - (1 - middle) * np.log2(1 - middle)
    assert entropy + middle == pytest.approx(min(bits, 1.5), rel=0.02)


def test_some_chunks_tell_of_all():
    base, rng = {"w": np.zeros((60, 50), np.float32)}, np.random.default_rng(0)
    found = {}

    class Asking(TSwitch):
        def plan(self, pairs):
            entries = np.where(rng.random(3000) < 0.1, np.float32(1), np.float32(0))
            for count in (None, 1, 8, 60, 99):
                ask = lambda start, stop: entries[start:stop]  # noqa: E731
                found[count] = pairs.frame_bytes("w", ask, of_chunks=count)
            return self

    bank = tvbank.create(MemoryStorage(), base, chunk_length=50)
    bank.add("t", {"w": base["w"] + 1}, Asking())
    assert found[None] == found[60] == found[99]
    assert found[8] == pytest.approx(found[None], rel=0.2)
    assert found[1] % 60 == 0
