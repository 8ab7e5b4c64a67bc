"""Frames added at once come to what adding one after the other comes to, or are left to that."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tvbank.coding import decode_sparse, encode_frame
from tvbank.errors import FrameError, NonFiniteError
from tvbank.merging._sum import sum_at_once
from tvbank.merging.apply import WeightedSum

LENGTH = 600
DTYPES = [np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)]


def frame(seed, density, kind):
    random = np.random.default_rng(seed)
    chunk = random.standard_normal(LENGTH).astype(np.float32)
    if kind == "sign":
        chunk = np.sign(chunk) * np.float32(0.0371)
    if kind == "table":
        chunk = random.choice(np.array([-0.5, 0.25, 1.5], np.float32), LENGTH)
    return encode_frame(np.where(random.random(LENGTH) < density, chunk, np.float32(0)))


def one_by_one(base, weights, frames):
    total = WeightedSum("unit", base)
    for weight, data in zip(weights, frames, strict=True):
        positions, values = decode_sparse(data, LENGTH)
        if len(positions) and positions[-1] >= len(base):
            raise FrameError("address", "beyond the end")
        if values.dtype != np.float32:  # a flipped header: steps of exact tasks have another sum
            raise FrameError("element", "not of this kind")
        total.add(float(weight), (positions, values))
    return total.result()


def compare(base, weights, frames):
    found = sum_at_once(base, weights, frames, LENGTH, is_float=True)
    try:
        expected = one_by_one(base, weights, frames)
    except (FrameError, NonFiniteError):
        assert found is None
        return
    if np.isfinite(expected).all():
        assert found.dtype == base.dtype
        assert found.tobytes() == expected.tobytes()


@given(
    st.lists(
        st.tuples(
            st.integers(0, 9), st.sampled_from([0.0, 0.03, 0.4, 1.0]),
            st.sampled_from(["sign", "table", "normal"]), st.floats(-4, 4, width=32),
        ),
        min_size=1, max_size=4,
    ),
    st.sampled_from(DTYPES), st.sampled_from([LENGTH, LENGTH - 64]),
)  # fmt: skip
def test_sums_are_those_of_one_after_the_other(tasks, dtype, size):
    base = np.random.default_rng(3).standard_normal(size).astype(dtype)
    frames = [frame(*task[:3]) for task in tasks]
    compare(base, np.array([task[3] for task in tasks], np.float32), frames)


@given(
    st.sampled_from(["sign", "table", "normal"]), st.lists(st.integers(0, 2**24), max_size=3),
    st.integers(0, 40),
)  # fmt: skip
@example(kind="sign", flips=[1], cut=0)
def test_what_is_not_valid_is_left_to_the_slow_way(kind, flips, cut):
    damaged = bytearray(frame(1, 0.1, kind))
    for flip in flips:
        damaged[flip % len(damaged)] ^= 1 << (flip // len(damaged)) % 8
    damaged = bytes(damaged[: len(damaged) - cut])
    base = np.zeros(LENGTH, np.float32)
    compare(base, np.ones(2, np.float32), [frame(1, 0.4, "sign"), damaged])


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_is_left_to_the_slow_way(dtype):
    base = np.full(LENGTH, np.inf, np.float32).astype(dtype)
    frames = [frame(1, 0.4, "sign")]
    assert sum_at_once(base, np.ones(1, np.float32), frames, LENGTH, is_float=True) is None
