"""Levels of packed factors: every level comes back, few bits beyond the entropy, nothing hidden."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvbank.coding.levels import LARGEST, decode_levels, encode_levels
from tvbank.coding.packed import pack_factors, unpack_factors
from tvbank.dtypes import DTYPES


@given(
    hnp.arrays(
        np.int32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12),
        elements=st.integers(-LARGEST, LARGEST) | st.integers(-2, 2),
    ),
    st.integers(0, 12),
)  # fmt: skip
def test_every_level_comes_back(levels, rows):
    rows = min(rows, levels.shape[1])
    data = encode_levels(levels, rows)
    found = decode_levels(data, rows, levels.shape[1] - rows, len(levels))
    assert (found == levels).all()
    assert data.size == 0 or data[-1] != 0
    longer = np.concatenate([data, np.zeros(8 + 8 * levels.size, np.uint8)])
    assert decode_levels(longer, rows, levels.shape[1] - rows, len(levels)) is None


def entropy(levels):
    _, counts = np.unique(levels, return_counts=True)
    return -(counts * np.log2(counts / levels.size)).sum()


@pytest.mark.parametrize("deviation", [0.3, 1.0, 5.0, 20.0])
def test_few_bits_beyond_the_entropy(deviation):
    levels = np.rint(np.random.default_rng(0).normal(size=(8, 700)) * deviation).astype(np.int32)
    assert 8 * encode_levels(levels, 300).size < 1.1 * entropy(levels)


def test_what_is_longer_than_was_expected_is_written_again():
    levels = np.full((40, 5000), LARGEST, np.int32)
    levels[::2] *= -1
    levels[:, ::3] = 0b101010101010101
    data = encode_levels(levels, 100)
    assert (decode_levels(data, 100, 4900, 40) == levels).all()


def test_a_column_has_the_levels_and_a_row_the_steps():
    levels = np.array([[3, -1, 0, 2], [0, 1, 1, -5]], np.int32)
    steps = np.array([0.5, -0.25]).astype(DTYPES["bfloat16"]).view(np.uint16)
    b, a = unpack_factors(pack_factors(levels, steps, 2), 2, 2, 2)
    assert b.tolist() == [[3, 0], [-1, 1]]
    assert a.tolist() == [[0, 1], [-0.25, 1.25]]
