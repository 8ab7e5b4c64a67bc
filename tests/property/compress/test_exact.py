"""Exact steps restore every bit of every float, NaN payloads and signed zeros included."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tvbank import Exact
from tvbank.compress.exact import take_steps

TYPES = {
    "float32": (np.uint32, np.float32),
    "float16": (np.uint16, np.float16),
    "bfloat16": (np.uint16, ml_dtypes.bfloat16),
}


@pytest.mark.parametrize("dtype", TYPES)
@given(data=st.data())
def test_every_bit_comes_back(dtype, data):
    bits, floats = TYPES[dtype]
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
    base = data.draw(hnp.arrays(bits, shape)).view(floats)
    tuned = data.draw(hnp.arrays(bits, shape)).view(floats)
    steps = Exact().compress("unit", base, tuned)
    assert steps.dtype == np.int32
    assert steps.shape == (base.size,)
    restored = take_steps(base, steps)
    assert restored.dtype == base.dtype
    assert restored.shape == base.shape
    assert restored.tobytes() == tuned.tobytes()


@pytest.mark.parametrize("dtype", TYPES)
def test_neighbouring_floats_are_one_step_apart(dtype):
    _, floats = TYPES[dtype]
    values = np.array([-2.0, -0.0, 0.0, 1.0], floats)
    above = np.nextafter(values, np.array(3, floats))
    above[1] = values[2]  # the float after -0.0 is +0.0 here
    assert Exact().compress("unit", values, above).tolist() == [1, 1, 1, 1]


def test_equal_weights_need_no_entries():
    weights = np.array([np.nan, -0.0, 1.5, np.inf], np.float32)
    assert not Exact().compress("unit", weights, weights.copy()).any()
