"""Whatever tensors there are, every way through a checkpoint gives back their bits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import deserialize, safe_open

from tvbank.checkpoint import (
    Checkpoint,
    TensorSpec,
    aligned_order,
    open_checkpoint,
    write_safetensors,
)
from tvbank.dtypes import DTYPES, UNIT_DTYPES
from tvbank.testing.state_dicts import StateDict, fine_tunes, state_dicts


@pytest.fixture(scope="module")
def target() -> Iterator[Path]:
    """One file for all examples; every example replaces it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "model.safetensors"


def specs_of(state_dict: StateDict) -> list[TensorSpec]:
    return [TensorSpec(name, a.dtype.name, a.shape) for name, a in state_dict.items()]


def as_torch(array: np.ndarray[Any, Any]) -> torch.Tensor:
    raw = torch.frombuffer(bytearray(array.tobytes()), dtype=torch.uint8) if array.size else None
    dtype = getattr(torch, array.dtype.name)
    if raw is None:
        return torch.empty(array.shape, dtype=dtype)
    return raw.view(dtype).reshape(array.shape)


def assert_holds(checkpoint: Checkpoint, state_dict: StateDict) -> None:
    assert dict(checkpoint.tensors) == {spec.name: spec for spec in specs_of(state_dict)}
    assert not checkpoint.tied
    for name, expected in state_dict.items():
        array = checkpoint.read(name)
        assert array.dtype == DTYPES[expected.dtype.name]
        assert array.shape == expected.shape
        assert array.flags.c_contiguous
        assert array.flags.aligned
        assert array.nbytes == checkpoint.tensors[name].nbytes
        assert array.tobytes() == expected.tobytes()


@given(state_dict=state_dicts(), aligned=st.booleans())
def test_write_then_read(target: Path, state_dict: StateDict, aligned: bool) -> None:
    specs = aligned_order(specs_of(state_dict)) if aligned else specs_of(state_dict)
    write_safetensors(target, specs, state_dict.__getitem__)
    with open_checkpoint(target) as checkpoint:
        # Empty tensors share their position with the tensor after them.
        assert [s for s in checkpoint.tensors.values() if s.size] == [s for s in specs if s.size]
        assert_holds(checkpoint, state_dict)


@given(state_dict=state_dicts())
def test_write_then_read_with_the_library(target: Path, state_dict: StateDict) -> None:
    write_safetensors(target, specs_of(state_dict), state_dict.__getitem__)
    with safe_open(target, "np") as file:
        assert set(file.keys()) == set(state_dict)
    for name, info in deserialize(target.read_bytes()):  # type: ignore[no-untyped-call]
        assert tuple(info["shape"]) == state_dict[name].shape
        assert bytes(info["data"]) == state_dict[name].tobytes()


@given(state_dict=state_dicts())
def test_state_dicts_in_memory(state_dict: StateDict) -> None:
    assert_holds(open_checkpoint(state_dict), state_dict)
    tensors = {name: as_torch(array) for name, array in state_dict.items()}
    assert_holds(open_checkpoint(tensors), state_dict)


def assert_survives_torch(path: Path, state_dict: StateDict, legacy: bool) -> None:
    tensors = {name: as_torch(array) for name, array in state_dict.items()}
    torch.save(tensors, path, _use_new_zipfile_serialization=not legacy)
    with open_checkpoint(path) as checkpoint:
        assert_holds(checkpoint, state_dict)


@settings(max_examples=30)
@given(state_dict=state_dicts(min_size=1))
def test_torch_files(target: Path, state_dict: StateDict) -> None:
    assert_survives_torch(target.with_suffix(".pt"), state_dict, legacy=False)


#: Torch's legacy format predates the other types, and torch cannot read them from it.
LEGACY_DTYPES = (*UNIT_DTYPES, "float64", "complex64", "bool", "uint8", "int8", "int16", "int64")


@settings(max_examples=30)
@given(state_dict=state_dicts(dtypes=st.sampled_from(LEGACY_DTYPES), min_size=1))
def test_legacy_torch_files(target: Path, state_dict: StateDict) -> None:
    assert_survives_torch(target.with_suffix(".pt"), state_dict, legacy=True)


@given(state_dict=state_dicts(min_size=1), data=st.data())
def test_every_alias_names_its_owner(state_dict: StateDict, data: st.DataObject) -> None:
    owners = {name: array for name, array in state_dict.items() if array.size}
    entries: dict[str, np.ndarray[Any, Any]] = dict(state_dict)
    for name, array in owners.items():
        if data.draw(st.booleans()):
            entries[f"tied to {name}"] = array
    entries = dict(data.draw(st.permutations(list(entries.items()))))
    checkpoint = open_checkpoint(entries)
    assert set(checkpoint.tensors) | set(checkpoint.tied) == set(entries)
    assert not set(checkpoint.tensors) & set(checkpoint.tied)
    order = list(entries)
    for alias, owner in checkpoint.tied.items():
        assert entries[alias] is entries[owner]
        assert order.index(owner) < order.index(alias)
        assert checkpoint.read(alias).tobytes() == entries[owner].tobytes()
    assert len(checkpoint.tied) == len(entries) - len(state_dict)


@given(data=st.data())
def test_fine_tunes_fit_their_base(data: st.DataObject) -> None:
    base = data.draw(state_dicts(dtypes=st.sampled_from(UNIT_DTYPES), finite=True))
    tuned = data.draw(fine_tunes(base, finite=True))
    assert specs_of(tuned) == specs_of(base)
    for array in (*base.values(), *tuned.values()):
        assert np.isfinite(array.astype(np.float32)).all()
