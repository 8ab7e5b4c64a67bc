"""Affine grids are found in values that were quantised onto one, and only there."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tvbank.coding.values.grid import find_grid, grid_patterns

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


def patterns_of(values):
    patterns = np.unique(np.asarray(values, np.float32).view(np.uint32))
    return patterns[patterns != 0]


@example(0.9985587000846863, 0.14015771448612213, 2, 0, True)  # a step at the end of its interval
@given(
    st.floats(-1, 1, width=32),
    st.floats(2.0**-12, 1, width=32),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_values_on_a_grid_are_recognised(offset, step, bits, seed, falling):
    offset, step = np.float32(offset), np.float32(-step if falling else step)
    used = np.random.default_rng(seed).random(1 << bits) < 0.7
    used[0] = True
    levels = grid_patterns(offset, step, bits)[used]
    if not levels.all():  # zero is no value, and without code 0 the grid may start elsewhere
        return
    patterns = patterns_of(levels.view(np.float32))
    grid = find_grid(patterns)
    assert grid is not None
    assert grid.bits <= bits
    assert (grid_patterns(grid.offset, grid.step, grid.bits)[grid.codes] == patterns).all()


@given(st.lists(finite, min_size=1, max_size=20))
def test_a_grid_that_is_found_is_exact(values):
    patterns = patterns_of(values)
    if patterns.size:
        grid = find_grid(patterns)
        if grid is not None:
            assert np.isfinite([grid.offset, grid.step]).all()
            assert (grid_patterns(grid.offset, grid.step, grid.bits)[grid.codes] == patterns).all()


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([0.5], 1),
        ([-0.5, 0.5], 1),
        ([1, 2, 3, 4], 2),
        ([1, 2, 3, 5], 3),
        ([1, 2, 3, 4.0000005], None),
        ([1, 256], 1),
        ([1, 2, 256], 8),
        ([1, 2, 257], None),
        ([-3.4028235e38, 3.4028235e38], 2),
        ([1, np.inf], None),
        ([1, np.nan], None),
        ([-0.0], 1),
        ([-0.0, 1.0], None),
    ],
)
def test_the_coarsest_grid_is_found(values, bits):
    grid = find_grid(patterns_of(values))
    assert (None if grid is None else grid.bits) == bits


def test_a_grid_may_overflow_to_infinity_where_no_code_is():
    patterns = grid_patterns(np.float32(3e38), np.float32(3e38), 1)
    assert patterns.view(np.float32).tolist() == [np.float32(3e38), np.inf]
