"""Merging from a bank is merging the decoded vectors in memory, by the plainest formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import bits_in, bits_of, folder, grids, models

import tvbank
from tvbank.dtypes import DTYPES
from tvbank.errors import NonFiniteError, UnitMismatchError, UsageError
from tvbank.merging import export_merged
from tvbank.storage import MemoryStorage

weights = st.sampled_from([0.0, 1.0, -0.5, 0.3, 1e30]) | st.floats(-4, 4, width=32)


def plain_merge(base, vectors):
    """Base plus the weighted vectors, densely; an error if a number is not finite.

    ``vectors``: weight and, per unit, float32 difference and what it touches.
    """
    merged = {}
    with np.errstate(all="ignore"):
        for name, array in base.items():
            total = array.astype(np.float32)
            touched = np.zeros(array.shape, bool)
            for weight, vector in vectors:
                difference, where = vector[name]
                total = np.where(where, total + np.float32(weight) * difference, total)
                touched |= where
            rounded = total.astype(array.dtype)
            if not np.isfinite(rounded[touched]).all():
                return NonFiniteError(name)
            merged[name] = np.where(touched, rounded, array)
    return merged


def lossy(compressor, base, tuned):
    vector = {}
    for name, array in base.items():
        entries = compressor.compress(name, array, tuned[name]).reshape(array.shape)
        vector[name] = entries, entries != 0
    return vector


def exact(base, tuned):
    vector = {}
    for name, array in base.items():
        with np.errstate(all="ignore"):
            difference = tuned[name].astype(np.float32) - array.astype(np.float32)
        unsigned = np.dtype(f"u{array.dtype.itemsize}")
        vector[name] = difference, array.view(unsigned) != tuned[name].view(unsigned)
    return vector


def weights_of(state_dict):
    """Torch tensors as arrays of the same bits."""
    arrays = {}
    for name, tensor in state_dict.items():
        dtype = DTYPES[str(tensor.dtype).removeprefix("torch.")]
        data = bytes(tensor.contiguous().untyped_storage()) if tensor.numel() else b""
        arrays[name] = np.frombuffer(data, dtype).reshape(tuple(tensor.shape))
    return arrays


@given(models(), weights, weights, grids)
def test_merging_from_a_bank_is_merging_in_memory(model, first, second, grid):
    base, one, two = model
    with grid.applied():
        bank = tvbank.create(MemoryStorage(), base=base, chunk_length=grid.chunk_length)
        check_merge(bank, base, one, two, first, second)


def check_merge(bank, base, one, two, first, second):
    compressor = tvbank.TSwitch(drop=0.3)
    try:
        bank.add("one", one, compressor)
    except NonFiniteError:  # differences beyond float32: nothing to merge
        return
    bank.add("two", two, tvbank.Exact())
    vectors = [(first, lossy(compressor, base, one)), (second, exact(base, two))]
    expected = plain_merge(base, vectors)
    with folder() as place:
        out = place / "merged.safetensors"
        ask = {"one": first, "two": second}
        if isinstance(expected, NonFiniteError):
            with pytest.raises(NonFiniteError):
                tvbank.merge(bank, ask, base=base)
            with pytest.raises(NonFiniteError):
                export_merged(bank, ask, base=base, out=out)
            assert not list(place.iterdir())
            return
        merged = weights_of(tvbank.merge(bank, ask, base=base))
        assert bits_of(merged) == bits_of(expected)
        export_merged(bank, ask, base=base, out=out)
        assert bits_in(out) == bits_of(expected)


@given(models())
def test_merging_nothing_gives_the_base(model):
    base, one, _ = model
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("one", one, tvbank.Exact())
    assert bits_of(weights_of(tvbank.merge(bank, {}, base=base))) == bits_of(base)


@given(models())
def test_export_of_a_lossy_task_is_merging_it_alone(model):
    base, one, _ = model
    bank = tvbank.create(MemoryStorage(), base=base)
    try:
        bank.add("one", one, tvbank.TSwitch(drop=0.5))
        merged = tvbank.merge(bank, {"one": 1.0}, base=base)
    except NonFiniteError:
        return
    with folder() as place:
        out = tvbank.export(bank, "one", base=base, out=place / "out.safetensors")
        assert bits_in(out) == bits_of(weights_of(merged))


def test_tied_units_stay_tied_and_a_counter_is_the_greatest():
    shared = np.ones((2, 2), np.float32)
    base = {"a": shared, "b": shared, "count": np.array(3)}
    tuned = {"a": shared + 1, "count": np.array(4)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("t", tuned, tvbank.Exact())
    merged = tvbank.merge(bank, {"t": 0.5}, base=base)
    assert merged["a"].tolist() == [[1.5, 1.5], [1.5, 1.5]]
    assert merged["a"].data_ptr() == merged["b"].data_ptr()
    assert merged["count"].item() == 4


def test_buffers_of_every_element_type_come_along():
    base = {name: np.zeros((2, 3), dtype) for name, dtype in DTYPES.items()}
    base |= {f"{name} 0-d": np.zeros((), dtype) for name, dtype in DTYPES.items()}
    base |= {f"{name} empty": np.zeros((0, 2), dtype) for name, dtype in DTYPES.items()}
    bank = tvbank.create(MemoryStorage(), base=base)
    assert bits_of(weights_of(tvbank.merge(bank, {}, base=base))) == bits_of(base)


def test_a_task_with_a_resized_unit_cannot_be_merged():
    base = {"w": np.ones(3, np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("t", {"w": np.ones(4, np.float32)}, tvbank.Exact(), replace_mismatched=True)
    with pytest.raises(UnitMismatchError, match=r"'t'.*'w'.*export it instead"):
        tvbank.merge(bank, {"t": 1.0}, base=base)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused(weight):
    base = {"w": np.ones(3, np.float32)}
    bank = tvbank.create(MemoryStorage(), base=base)
    bank.add("t", {"w": np.zeros(3, np.float32)}, tvbank.Exact())
    with pytest.raises(UsageError, match=r"'t' must be a finite number"):
        tvbank.merge(bank, {"t": weight}, base=base)
