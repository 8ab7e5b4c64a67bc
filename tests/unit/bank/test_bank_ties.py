"""Tied tensors have one owner in a bank, whatever names a checkpoint gives them."""

import itertools

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tvbank
from tvbank.errors import BaseMismatchError, UnitMismatchError, UnitNotFoundError
from tvbank.storage import MemoryStorage

SHARED = np.arange(6, dtype=np.float32).reshape(2, 3)
COUNT = np.arange(4)
BASE = {"a": SHARED, "b": SHARED, "c": np.ones(2, np.float32), "n": COUNT, "m": COUNT}
NAMES = [["a", "b"], ["b", "a"], ["a"], ["b"]]


def checkpoint(names, shared, count_names=("n", "m"), copied=False):
    """A checkpoint in which the shared tensor has these names."""
    tensors = {name: shared.copy() if copied else shared for name in names}
    return tensors | {"c": BASE["c"]} | dict.fromkeys(count_names, COUNT)


@pytest.fixture
def bank():
    bank = tvbank.create(MemoryStorage(), base=BASE, chunk_length=4)
    assert bank.layout.tied == {"b": "a", "m": "n"}
    return bank


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize(("base_names", "names"), list(itertools.product(NAMES, NAMES)))
def test_any_of_the_names_will_do(bank, base_names, names, copied, tmp_path):
    base = checkpoint(base_names, SHARED, reversed(("n", "m")[: len(base_names)]), copied)
    task = bank.add("t", checkpoint(names, SHARED + 1, copied=copied), tvbank.Exact(), base=base)
    assert task["a"].to_dense().all()
    assert list(task) == ["a", "c"]
    assert (task["b"].to_dense() == task["a"].to_dense()).all()
    restored = load_file(tvbank.export(bank, "t", base=base, out=tmp_path / "out.safetensors"))
    assert set(restored) == set(BASE)
    for name in ("a", "b"):
        assert (restored[name] == SHARED + 1).all()
    merged = tvbank.merge(bank, {"t": 2.0}, base=base)
    assert (merged["b"].numpy() == SHARED + 2).all()
    assert merged["a"].data_ptr() == merged["b"].data_ptr()


def test_files_know_no_ties(bank, tmp_path):
    save_file(checkpoint(["b"], SHARED), tmp_path / "base.safetensors")
    save_file(checkpoint(["a", "b"], SHARED + 1, copied=True), tmp_path / "tuned.safetensors")
    base = tmp_path / "base.safetensors"
    bank.add("t", tmp_path / "tuned.safetensors", tvbank.Exact(), base=base)
    assert list(bank["t"].extras) == []
    restored = load_file(tvbank.export(bank, "t", base=base, out=tmp_path / "out.safetensors"))
    assert (restored["a"] == restored["b"]).all()


def test_another_base_under_another_name_is_refused(bank):
    with pytest.raises(BaseMismatchError) as caught:
        bank.add("t", BASE, base=checkpoint(["b"], SHARED + 1))
    assert caught.value.units == ("a",)
    with pytest.raises(BaseMismatchError) as caught:
        bank.add("t", BASE, base=checkpoint([], SHARED))
    assert caught.value.units == ("a",)


@pytest.mark.parametrize("names", NAMES)
def test_a_resized_tensor_keeps_all_its_names(bank, names, tmp_path):
    resized = np.arange(12, dtype=np.float32).reshape(4, 3)
    with pytest.raises(UnitMismatchError, match="'a'"):
        bank.add("t", checkpoint(names, resized))
    task = bank.add("t", checkpoint(names, resized), replace_mismatched=True)
    assert list(task.extras) == ["a"]
    for name in ("a", "b"):
        with pytest.raises(UnitNotFoundError):
            task[name]
    restored = load_file(tvbank.export(bank, "t", base=BASE, out=tmp_path / "out.safetensors"))
    assert (restored["a"] == resized).all()
    assert (restored["b"] == resized).all()


def test_a_changed_buffer_keeps_all_its_names(bank, tmp_path):
    changed = BASE["n"] + 1
    bank.add("t", BASE | {"n": changed, "m": changed})
    restored = load_file(tvbank.export(bank, "t", base=BASE, out=tmp_path / "out.safetensors"))
    assert (restored["n"] == changed).all()
    assert (restored["m"] == changed).all()


def test_tensors_that_were_untied_are_kept_apart(bank, tmp_path):
    untied = BASE | {"b": SHARED - 1}
    with pytest.raises(UnitMismatchError, match=r"tied in the base.*'b'"):
        bank.add("t", untied)
    bank.add("t", untied, tvbank.Exact(), replace_mismatched=True)
    restored = load_file(tvbank.export(bank, "t", base=BASE, out=tmp_path / "out.safetensors"))
    assert (restored["a"] == SHARED).all()
    assert (restored["b"] == SHARED - 1).all()
