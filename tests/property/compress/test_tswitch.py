"""T-Switch keeps exactly what its definition says, whatever the numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvbank import TSwitch
from tvbank.errors import NonFiniteError, UsageError

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
TIED = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, 1e-45, -1e-45])
DELTAS = hnp.arrays(np.float32, st.integers(0, 300), elements=FLOATS | TIED)
DROPS = st.sampled_from([0.0, 0.1, 0.57, 0.7, 0.9, 0.99]) | st.floats(0, 0.999)


def compress(delta, **knobs):
    return TSwitch(**knobs).compress("unit", np.zeros_like(delta), delta)


@given(DELTAS, DROPS)
def test_each_sign_loses_exactly_its_share_of_the_smallest(delta, drop):
    kept = compress(delta, drop=drop)
    for sign in (1, -1):
        magnitudes = (sign * delta)[sign * delta > 0]
        dropped = math.floor(Fraction(repr(drop)) * len(magnitudes))
        chosen = sign * kept > 0
        assert chosen.sum() == len(magnitudes) - dropped
        assert sorted((sign * delta)[chosen]) == sorted(magnitudes)[dropped:]


@given(DELTAS, DROPS)
def test_ties_are_dropped_from_the_end(delta, drop):
    kept = compress(delta, drop=drop)
    for value in np.unique(delta[delta != 0]):
        chosen = kept[delta == value] != 0
        assert not np.any(np.diff(chosen.astype(int)) > 0)


@given(DELTAS, DROPS)
def test_knob_is_the_root_mean_square_of_what_is_kept(delta, drop):
    kept = compress(delta, drop=drop)
    magnitudes = np.unique(np.abs(kept[kept != 0]))
    assert len(magnitudes) <= 1
    if len(magnitudes):
        expected = np.sqrt(np.mean(delta[kept != 0].astype(np.float64) ** 2))
        np.testing.assert_allclose(magnitudes[0], expected, rtol=1e-6, atol=2e-45)


@given(DELTAS, DROPS)
def test_norm_knob_restores_the_norm_of_the_unit(delta, drop):
    kept = compress(delta, drop=drop, knob="norm").astype(np.float64)
    if kept.any() and np.abs(delta).max() > 1e-30:
        expected = np.linalg.norm(delta.astype(np.float64))
        np.testing.assert_allclose(np.linalg.norm(kept), expected, rtol=1e-6)


@given(DELTAS, DROPS)
def test_same_input_same_bytes(delta, drop):
    assert compress(delta, drop=drop).tobytes() == compress(delta, drop=drop).tobytes()


def test_an_empty_sign_keeps_nothing_and_the_other_keeps_its_share():
    delta = np.arange(1, 11, dtype=np.float32)
    assert np.count_nonzero(compress(delta, drop=0.9)) == 1
    assert np.count_nonzero(compress(-delta, drop=0.7)) == 3


def test_zero_units_stay_zero():
    assert not compress(np.zeros(7, np.float32)).any()
    assert compress(np.zeros(0, np.float32)).shape == (0,)


def test_what_did_not_change_may_be_infinite():
    base = np.array([-np.inf, np.nan, 1.0], np.float32)
    tuned = np.array([-np.inf, np.nan, 2.0], np.float32)
    assert TSwitch(drop=0.0).compress("mask", base, tuned).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_infinite_changes_are_refused_with_the_unit(bad):
    tuned = np.array([1.0, bad], np.float32)
    with pytest.raises(NonFiniteError, match=r"'encoder\.weight'.*Exact"):
        TSwitch().compress("encoder.weight", np.ones(2, np.float32), tuned)


def test_a_difference_beyond_float32_is_refused():
    huge = np.array([3e38], np.float32)
    with pytest.raises(NonFiniteError):
        TSwitch().compress("unit", -huge, huge)


@pytest.mark.parametrize("drop", [1.0, -0.1, 2.0, float("nan")])
def test_drop_out_of_range(drop):
    with pytest.raises(UsageError, match="drop"):
        TSwitch(drop=drop)


def test_unknown_knob():
    with pytest.raises(UsageError, match="knob"):
        TSwitch(knob="max")
