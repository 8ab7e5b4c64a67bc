"""Half precision in integer arithmetic: every half, and floats around every rounding boundary."""

import ml_dtypes
import numpy as np
import pytest
from numba import njit

from tvbank.coding.decoding.elements import (
    ADD,
    ADD_STEPS,
    KINDS,
    STEP,
    brain_of_single,
    half_of_single,
    moved,
    single_of_half,
    stepped,
)
from tvbank.compress.exact import take_steps

DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16),
          "bfloat16": np.dtype(ml_dtypes.bfloat16)}  # fmt: skip


@njit
def each(function, patterns, out):
    for index in range(patterns.size):
        out[index] = function(patterns[index])


@njit
def each_step(kind, patterns, steps, out):
    for index in range(patterns.size):
        out[index] = stepped(kind, patterns[index], steps[index])


@njit
def each_moved(kind, mode, patterns, entries, weight, out, finite):
    for index in range(patterns.size):
        out[index], finite[index] = moved(kind, mode, patterns[index], entries[index], weight)


def applied(function, patterns):
    out = np.empty_like(patterns)
    each(function, patterns, out)
    return out


def boundaries():
    """Patterns of every half as a float32, halfway to the next, and their neighbours."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (halves[:-1].astype(np.float64) + halves[1:]) / 2
    points = np.concatenate(
        [halves, middle.astype(np.float32), [65519.996, 65520.0, 65535.0, 1e30]]
    )
    bits = points.astype(np.float32).view(np.uint32)
    around = np.concatenate([bits, bits + np.uint32(1), np.where(bits, bits - np.uint32(1), bits)])
    return np.concatenate([around, around | np.uint32(0x80000000)])


def random_patterns():
    rng = np.random.default_rng(0)
    return rng.integers(0, 2**32, 200_000, np.uint32)


def finite(patterns):
    return patterns[np.isfinite(patterns.view(np.float32))]


def test_every_half_widens_exactly():
    halves = np.arange(2**16, dtype=np.uint32)
    wanted = halves.astype(np.uint16).view(np.float16).astype(np.float32)
    usual = ~np.isnan(wanted)  # of a NaN only that it is one
    assert (applied(single_of_half, halves)[usual] == wanted.view(np.uint32)[usual]).all()
    assert np.isnan(applied(single_of_half, halves)[~usual].view(np.float32)).all()


def test_floats_round_to_halves_as_numpy_rounds_them():
    patterns = np.concatenate([boundaries(), finite(random_patterns())])
    with np.errstate(over="ignore"):
        wanted = patterns.view(np.float32).astype(np.float16).view(np.uint16)
    assert (applied(half_of_single, patterns) == wanted).all()


def test_floats_round_to_bfloat16_as_ml_dtypes_rounds_them():
    near = np.arange(2**16, dtype=np.uint32) << np.uint32(16)
    ties = np.concatenate([near | np.uint32(low) for low in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    patterns = np.concatenate([finite(ties), finite(random_patterns())])
    with np.errstate(over="ignore"):
        wanted = patterns.view(np.float32).astype(ml_dtypes.bfloat16).view(np.uint16)
    assert (applied(brain_of_single, patterns) == wanted).all()


def weights(name, count=20_000):
    rng = np.random.default_rng(1)
    width = DTYPES[name].itemsize
    return rng.integers(0, 2 ** (8 * width), count, dtype=np.uint32 if width == 4 else np.uint16)


@pytest.mark.parametrize("name", KINDS)
def test_steps_lead_where_exact_tasks_lead(name):
    patterns = weights(name)
    rng = np.random.default_rng(2)
    small = rng.integers(-50, 50, patterns.size, np.int32)
    for steps in (small, rng.integers(-(2**31), 2**31, patterns.size, np.int32)):
        wanted = take_steps(patterns.view(DTYPES[name]), steps).view(patterns.dtype)
        out = np.empty(patterns.size, np.uint32)
        each_step(KINDS.index(name), patterns.astype(np.uint32), steps.view(np.uint32), out)
        assert (out == wanted).all()


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("mode", [ADD, STEP, ADD_STEPS])
def test_one_task_moves_weights_as_merging_does(name, mode):
    patterns, dtype = weights(name), DTYPES[name]
    rng = np.random.default_rng(3)
    weight = np.float32(0.7)
    if mode == ADD:
        entries = rng.standard_normal(patterns.size).astype(np.float32)
    else:
        entries = rng.integers(-9, 10, patterns.size, np.int32)
    base = patterns.view(dtype)
    with np.errstate(all="ignore"):
        if mode == STEP:
            wanted = take_steps(base, entries)
        else:
            added = entries
            if mode == ADD_STEPS:
                added = take_steps(base, entries).astype(np.float32) - base.astype(np.float32)
            wanted = (base.astype(np.float32) + weight * added).astype(dtype)
    out = np.empty(patterns.size, np.uint32)
    good = np.empty(patterns.size, np.bool_)
    kind = KINDS.index(name)
    each_moved(kind, mode, patterns.astype(np.uint32), entries.view(np.uint32), weight, out, good)
    usual = np.isfinite(wanted.astype(np.float32)) | (mode == STEP)
    assert (good == usual).all()
    assert (out[usual] == wanted.view(patterns.dtype)[usual]).all()
