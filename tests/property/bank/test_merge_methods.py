"""TIES and DARE from a bank against plain dense implementations of what the papers describe."""

import hashlib
import math
from fractions import Fraction
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stories import bits_in, bits_of, folder, grids, models

import tvbank
from tvbank.errors import NonFiniteError, UsageError
from tvbank.merging import TaskArithmetic, export_merged
from tvbank.storage import MemoryStorage

TASKS = ("one", "three", "two")
SHAPES = {"a": (5, 7), "b": (19,), "c": (), "d": (0, 3)}
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)

#: Few values, so that magnitudes tie and signs balance, and so that sums are exact.
eighths = st.integers(-12, 12).map(lambda number: number / 8)
weights = st.sampled_from([1.0, 0.5, -1.0, 2.0, 0.25, 0.0])
densities = st.sampled_from([1.0, 0.9, 0.5, 0.3, 0.1, 1e-6])
scopes = st.sampled_from(["task", "unit"])
divisors = st.sampled_from(["tasks", "weights"])


class Drawn(NamedTuple):
    bank: tvbank.Bank
    base: dict
    tuned: dict
    ask: dict


@st.composite
def merges(draw):
    """A bank, what it was made from, and a weight for each task."""
    dtype = draw(st.sampled_from(DTYPES))

    def model():
        return {
            name: np.array(
                draw(st.lists(eighths, min_size=math.prod(shape), max_size=math.prod(shape)))
            )
            .reshape(shape)
            .astype(dtype)
            for name, shape in SHAPES.items()
        }

    base, tuned = model(), {name: model() for name in TASKS}
    base["b"][0] = -1  # a vector that is never negative is a buffer, which no method sums
    bank = bank_of(base, tuned, draw(grids))
    order = draw(st.permutations(TASKS))
    return Drawn(bank, base, tuned, {name: draw(weights) for name in order})


def bank_of(base, tuned, grid):
    """Exact tasks and a lossy one."""
    with grid.applied():
        bank = tvbank.create(MemoryStorage(), base=base, chunk_length=grid.chunk_length)
        for name, model in tuned.items():
            bank.add(name, model, tvbank.TSwitch(drop=0.3) if name == "two" else tvbank.Exact())
    return bank


def vectors_of(bank, base):
    """Task -> unit -> dense float32 differences."""
    vectors = {}
    for name, task in bank.items():
        if task.element == "float32":
            vectors[name] = task.to_dense()
            continue
        with folder() as place:
            path = tvbank.export(bank, name, base=base, out=place / "task.safetensors")
            tuned = bits_in(path)
        vectors[name] = {
            unit: np.frombuffer(tuned[unit][2], array.dtype).reshape(array.shape).astype("f4")
            - array.astype("f4")
            for unit, array in base.items()
        }
    return vectors


def added(base, vector):
    """Base plus a vector, rounded once; entries of zero leave every bit."""
    return {
        unit: np.where(
            vector[unit] != 0, (array.astype("f4") + vector[unit]).astype(array.dtype), array
        )
        for unit, array in base.items()
    }


def trimmed(vector, density, scope):
    """The largest ``ceil(density * n)`` magnitudes, and those that equal the smallest of them."""
    groups = [list(vector)] if scope == "task" else [[unit] for unit in vector]
    kept = {}
    for group in groups:
        magnitudes = np.sort(np.concatenate([np.abs(vector[unit]).ravel() for unit in group]))
        quota = math.ceil(Fraction(repr(density)) * len(magnitudes))
        least = magnitudes[-quota] if quota else np.inf
        for unit in group:
            kept[unit] = np.where(np.abs(vector[unit]) >= least, vector[unit], np.float32(0))
    return kept


def plain_ties(vectors, weights, density, scope, divide_by):
    kept = {name: trimmed(vectors[name], density, scope) for name in weights}
    merged = {}
    for unit, shape in SHAPES.items():
        parts = np.array([weight * kept[name][unit] for name, weight in weights.items()], "f8")
        elected = np.sign(parts.sum(axis=0))
        agree = (np.sign(parts) == elected) & (parts != 0)
        counts = agree.sum(axis=0)
        if divide_by == "weights":
            shares = np.array([np.float32(weight) for weight in weights.values()], "f8")
            counts = (agree * shares.reshape(-1, *[1] * (agree.ndim - 1))).sum(axis=0)
        counts = np.where(counts == 0, 1, counts)
        merged[unit] = ((parts * agree).sum(axis=0) / counts).astype("f4").reshape(shape)
    return merged


def plain_dare(vectors, weights, drop, seed):
    merged = {}
    for unit, shape in SHAPES.items():
        total = np.zeros(shape, "f4").ravel()
        for name in sorted(weights):
            entries = vectors[name][unit].ravel()
            kept = [not dropped(drop, seed, name, unit, k) for k in range(entries.size)]
            factor = np.float32(weights[name] * (1 / (1 - drop)))
            total += factor * np.where(kept, entries, np.float32(0))
        merged[unit] = total.reshape(shape)
    return merged


def dropped(drop, seed, task, unit, position):
    """SplitMix64 in Python's integers."""
    whole = 2**64 - 1
    digest = hashlib.sha256(f"{seed}\0{task}\0{unit}".encode()).digest()
    mixed = int.from_bytes(digest[:8], "little") + (position + 1) * 0x9E3779B97F4A7C15 & whole
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & whole
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & whole
    return ((mixed ^ mixed >> 31) >> 11) * 2.0**-53 < drop


def merged_bits(bank, ask, base, method):
    """What is merged in memory, which must be what is written."""
    merged = tvbank.merge(bank, ask, base=base, method=method)
    with folder() as place:
        out = export_merged(bank, ask, base=base, method=method, out=place / "out.safetensors")
        written = bits_in(out)
    assert set(written) == set(merged)
    for name, (_, shape, data) in written.items():
        tensor = merged[name]
        assert tuple(tensor.shape) == shape
        assert (bytes(tensor.contiguous().untyped_storage()) if tensor.numel() else b"") == data
    return written


@given(merges(), densities, scopes, divisors)
def test_ties_is_what_the_paper_describes(merge, density, scope, divide_by):
    bank, base, _, ask = merge
    expected = added(base, plain_ties(vectors_of(bank, base), ask, density, scope, divide_by))
    method = tvbank.Ties(density=density, across=scope, divide_by=divide_by)
    assert merged_bits(bank, ask, base, method) == bits_of(expected)


@given(merges(), st.sampled_from([0.0, 0.3, 0.75, 0.99]), st.integers(-2, 2))
def test_dare_is_what_the_paper_describes(merge, drop, seed):
    bank, base, _, ask = merge
    vectors = vectors_of(bank, base)
    touched = {u: sum(np.abs(vectors[name][u]) for name in ask) for u in SHAPES}
    vector = plain_dare(vectors, ask, drop, seed)
    expected = {
        unit: np.where(
            touched[unit] != 0, (array.astype("f4") + vector[unit]).astype(array.dtype), array
        )
        for unit, array in base.items()
    }
    found = tvbank.merge(bank, ask, base=base, method=tvbank.Dare(drop=drop, seed=seed))
    for unit, array in expected.items():
        tolerance = {"float32": 1e-6, "float16": 2e-3, "bfloat16": 2e-2}[array.dtype.name]
        np.testing.assert_allclose(
            found[unit].float().numpy(), array.astype("f4"), rtol=tolerance, atol=tolerance
        )


@given(merges(), st.sampled_from(TASKS), st.booleans())
def test_one_task_alone_at_full_density_is_the_task(merge, name, whole):
    bank, base, *_ = merge
    method = tvbank.Ties(density=1.0) if whole else tvbank.Dare(drop=0.0)
    with folder() as place:
        exported = bits_in(tvbank.export(bank, name, base=base, out=place / "task.safetensors"))
    if bank[name].element == "float32":
        assert merged_bits(bank, {name: 1.0}, base, method) == exported
    else:  # the difference of -0.0 and 0.0 is 0
        found = tvbank.merge(bank, {name: 1.0}, base=base, method=method)
        arithmetic = tvbank.merge(bank, {name: 1.0}, base=base)
        assert all((found[unit] == arithmetic[unit]).all() for unit in found)


@given(models(), st.floats(-4, 4, width=32), st.floats(-4, 4, width=32))
def test_dare_that_drops_nothing_is_task_arithmetic(model, first, second):
    base, one, two = model
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("one", one, tvbank.Exact())
    bank.add("two", two, tvbank.Exact())
    ask = {"one": first, "two": second}
    try:
        expected = merged_bits(bank, ask, base, TaskArithmetic())
    except NonFiniteError:
        with pytest.raises(NonFiniteError):
            tvbank.merge(bank, ask, base=base, method=tvbank.Dare(drop=0.0))
        return
    assert merged_bits(bank, ask, base, tvbank.Dare(drop=0.0, seed=3)) == expected


methods = st.builds(tvbank.Ties, densities, scopes, divisors) | st.builds(
    tvbank.Dare, st.sampled_from([0.0, 0.5, 0.9]), st.integers(0, 5)
)


@settings(max_examples=40)
@given(merges(), methods, grids)
def test_neither_the_order_of_tasks_nor_the_chunks_matter(merge, method, grid):
    bank, base, tuned, ask = merge
    expected = merged_bits(bank, ask, base, method)
    assert merged_bits(bank, dict(reversed(ask.items())), base, method) == expected
    again = bank_of(base, tuned, grid)
    assert merged_bits(again, ask, base, method) == expected


@settings(max_examples=40)
@given(merges(), densities, scopes)
def test_ties_mirrors_and_scales(merge, density, scope):
    """Negated weights negate the vector, as doubled ones double it."""
    bank, base, _, ask = merge
    zero = {unit: np.zeros_like(array) for unit, array in base.items()}
    flat = tvbank.create(MemoryStorage(), base=zero)
    for name, vector in vectors_of(bank, base).items():
        flat.add(name, {u: np.asarray(v, base[u].dtype) for u, v in vector.items()},
                 tvbank.Exact())  # fmt: skip
    method = tvbank.Ties(density=density, across=scope)
    vector = tvbank.merge(flat, ask, base=zero, method=method)
    for factor in (-1, 2):
        scaled = {name: factor * weight for name, weight in ask.items()}
        for unit, tensor in tvbank.merge(flat, scaled, base=zero, method=method).items():
            assert (tensor == factor * vector[unit]).all()


def test_dare_drops_its_share_of_each_task_apart():
    n, drop = 40_000, 0.75
    base = {"w": np.zeros(n, np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    for name in ("a", "b"):
        bank.add(name, {"w": np.ones(n, np.float32)}, tvbank.Exact())

    def kept(task, seed=0):
        return tvbank.merge(bank, {task: 1.0}, base=base, method=tvbank.Dare(drop=drop, seed=seed))[
            "w"
        ].numpy()

    a, b, other = kept("a"), kept("b"), kept("a", seed=1)
    assert set(a) == {0.0, 4.0}
    deviation = math.sqrt(drop * (1 - drop) / n)
    for mask in (a > 0, b > 0, other > 0):
        assert abs(mask.mean() - (1 - drop)) < 5 * deviation
    for second in (b, other):
        both = ((a > 0) & (second > 0)).mean()
        assert abs(both - (1 - drop) ** 2) < 5 * deviation
    together = tvbank.merge(bank, {"a": 1.0, "b": 1.0}, base=base, method=tvbank.Dare(drop=drop))[
        "w"
    ].numpy()
    assert (together == a + b).all()


@pytest.mark.parametrize("method", [tvbank.Ties(density=0.5), tvbank.Dare(drop=0.5, seed=1)])
def test_weights_that_do_not_stay_finite_are_refused(method):
    n = 64
    base = {"w": np.zeros(n, np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("huge", {"w": np.full(n, 1e38, np.float32)}, tvbank.Exact())
    bank.add("odd", {"w": np.array([np.inf, -np.inf, np.nan, 1] * (n // 4), "f4")}, tvbank.Exact())
    with np.errstate(over="ignore"):
        for ask in ({"huge": 100.0}, {"odd": 1.0}, {"odd": 1.0, "huge": -1.0}):
            with pytest.raises(NonFiniteError, match="unit 'w'"):
                tvbank.merge(bank, ask, base=base, method=method)


def test_parameters_out_of_range_are_refused():
    for density in (0, -0.1, 1.1, math.nan):
        with pytest.raises(UsageError, match="density must be greater than 0"):
            tvbank.Ties(density=density)
    with pytest.raises(UsageError, match="across must be 'task' or 'unit'"):
        tvbank.Ties(across="layer")
    with pytest.raises(UsageError, match="divide_by must be 'tasks' or 'weights'"):
        tvbank.Ties(divide_by="count")
    for drop in (1, -0.1, math.nan):
        with pytest.raises(UsageError, match="drop must be at least 0"):
            tvbank.Dare(drop=drop)
    with pytest.raises(UsageError, match="seed must be an integer"):
        tvbank.Dare(seed=0.5)


def test_methods_describe_themselves():
    assert tvbank.Ties(density=0.3).describe() == {
        "name": "ties", "density": 0.3, "across": "task", "divide_by": "tasks"
    }  # fmt: skip
    assert tvbank.Ties(divide_by="weights").describe()["divide_by"] == "weights"
    assert tvbank.Dare(drop=0.5, seed=7).describe() == {"name": "dare", "drop": 0.5, "seed": 7}
    assert TaskArithmetic().describe() == {"name": "arithmetic"}
