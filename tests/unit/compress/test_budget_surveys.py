"""What a budget counts of a unit, whatever blocks and ranges it is read in."""

import numpy as np
import pytest

from tvbank.compress import _magnitudes, _rows
from tvbank.compress._choices import list_choices, values_of
from tvbank.compress._difference import Difference
from tvbank.compress._magnitudes import count_magnitudes, replace_by_bin
from tvbank.compress._rows import survey_rows

SHAPES = [(7, 13), (13, 7), (1, 50), (50, 1), (4, 3, 5), (60,), (), (0, 3)]


@pytest.fixture(params=[(64, 16), (5, 3), (1 << 22, 1 << 16)])
def pieces(request, monkeypatch):
    for module in (_rows, _magnitudes):
        monkeypatch.setattr(module, "RANGE", request.param[0])
        monkeypatch.setattr(module, "BLOCK", request.param[1])


def unit(shape):
    entries = np.asarray(np.random.default_rng(0).standard_t(3, shape), np.float32)
    entries[entries > 2] = 0
    return entries


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_weighed_by_their_root_mean_square(pieces, shape):
    entries = unit(shape)
    rows = survey_rows(Difference("unit", np.zeros_like(entries), entries), shape, -0.5, map)
    squares = np.square(entries, dtype=np.float64)
    np.testing.assert_allclose(rows.energy, squares.sum(), rtol=1e-12)
    if len(shape) > 1 and entries.size:
        means = squares.reshape(shape[0], -1).mean(1)
        expected = np.where(means > 0, means / squares.mean(), 1) ** -0.25
        np.testing.assert_allclose(rows.factors, expected, rtol=1e-6)
        assert rows.width * shape[0] == entries.size
    else:
        assert rows.factors.tolist() == [1]


@pytest.mark.parametrize("by_score", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_bins_hold_every_entry_by_its_score(pieces, shape, by_score):
    entries = unit(shape)
    delta = Difference("unit", np.zeros_like(entries), entries)
    rows = survey_rows(delta, shape, -0.5, map)
    found = count_magnitudes(delta, rows, by_score=by_score, each=map)
    factors = np.repeat(rows.factors, rows.width)[: entries.size]
    magnitudes = np.abs(entries).ravel()
    scores = magnitudes * factors if by_score else magnitudes
    assert found.counts.sum() == np.count_nonzero(entries)
    np.testing.assert_allclose(
        found.energy, (np.float64(magnitudes * factors) ** 2).sum(), rtol=1e-5
    )
    assert (np.diff(found.bins) < 0).all()
    for threshold in {1, len(found.bins) // 2, len(found.bins)} - {0}:
        if threshold > len(found.bins):
            continue
        values = values_of(found, threshold, 1, 32.0)
        block = delta.block(0, entries.size)
        for start in range(0, entries.size, 11):
            part = block[start : start + 11]
            replace_by_bin(part, start, values, rows, by_score=by_score)
        kept = block != 0
        assert kept.sum() == found.kept[threshold - 1]
        assert not kept.any() or kept.all() or scores[kept].min() >= scores[~kept].max()
        assert (np.sign(block[kept]) == np.sign(entries.ravel()[kept])).all()


def test_harm_falls_with_what_is_kept_and_with_levels():
    entries = unit((40, 50))
    delta = Difference("unit", np.zeros_like(entries), entries)
    rows = survey_rows(delta, entries.shape, -0.5, map)
    both = [count_magnitudes(delta, rows, by_score=s, each=map) for s in (True, False)]
    choices = list_choices(*both, 32.0)
    assert choices.harm[0] == 1
    assert (choices.harm >= 0).all()
    least = [choices.harm[choices.levels == levels].min() for levels in (1, 2, 8, 32, 128)]
    assert least == sorted(least, reverse=True)
    assert least[-1] < 1e-4
