"""Entries drawn by chance: right on average and over every stretch, the same in any pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tvbank.compress.budget import drawing
from tvbank.compress.budget.drawing import Draw, draw, survey_rows
from tvbank.compress.lossy import Difference


def difference(entries, name="unit"):
    return Difference(name, np.zeros_like(entries), entries)


@settings(max_examples=60)
@given(
    st.integers(0, 2**32), st.integers(1, 50), st.integers(1, 300), st.sampled_from([1, 2, 8]),
    st.floats(0.1, 30), st.integers(0, 2), st.data(),
)  # fmt: skip
def test_any_piece_is_the_same(seed, width, size, levels, step, power, data):
    entries = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    delta, how = difference(entries), Draw(power, step, levels, 1.0)
    rows = survey_rows(delta, width, map)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(drawing, "STRETCH", data.draw(st.sampled_from([1, 7, 1024])))
        whole = draw(delta, rows, how, 0, size)
        start = data.draw(st.integers(0, size - 1))
        stop = data.draw(st.integers(start + 1, size))
        assert (draw(delta, rows, how, start, stop) == whole[start:stop]).all()


@settings(max_examples=60)
@given(
    st.integers(0, 2**32), st.integers(1, 50), st.sampled_from([1, 2, 8]), st.floats(0.1, 30)
)  # fmt: skip
def test_no_stretch_of_a_row_is_more_than_a_step_off(seed, width, levels, step):
    entries = np.random.default_rng(seed).standard_normal(20 * width).astype(np.float32)
    entries[::7] = 0
    delta = difference(entries)
    rows = survey_rows(delta, width, map)
    found = draw(delta, rows, Draw(0, step, levels, 1.0), 0, 20 * width)
    steps = np.minimum(np.abs(entries.astype(float)) / step, levels)
    assert np.abs(np.cumsum((np.abs(found) - steps).reshape(20, width), 1)).max() < 1 + 1e-6
    assert (found[entries == 0] == 0).all()
    kept = found != 0
    assert (np.sign(found[kept]) == np.sign(entries[kept])).all()
    assert (np.abs(np.abs(found) - steps) < 1 + 1e-6).all()


def test_entries_are_right_on_average():
    entries = np.random.default_rng(0).standard_normal(200).astype(np.float32)
    how, rows = Draw(0, 4.0, 1, 4.0), survey_rows(difference(entries), 50, map)
    mean = np.mean([draw(difference(entries, f"{n}"), rows, how, 0, 200) for n in range(4000)], 0)
    assert np.abs(mean - entries).max() < 0.15  # five deviations of the largest
    same = draw(difference(entries, "0"), rows, how, 0, 200)
    assert (same == draw(difference(entries, "0"), rows, how, 0, 200)).all()


def test_no_negative_zeros():
    entries = np.float32([-0.0, -1e-3, 1e-3, 0.0])
    delta = difference(entries)
    found = draw(delta, survey_rows(delta, 4, map), Draw(0, 1e6, 1, 1.0), 0, 4)
    assert not np.signbit(found).any()
