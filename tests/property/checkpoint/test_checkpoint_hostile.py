"""Damaged files are refused in one sentence, or still hold tensors of the announced shapes."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tvbank.checkpoint import TensorSpec, open_checkpoint, write_safetensors
from tvbank.errors import CheckpointError


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        specs = [TensorSpec("a", "float32", (2, 3)), TensorSpec("b", "bfloat16", (3,))]
        arrays = [np.ones((2, 3), np.float32), np.ones(3, "u2").view("bfloat16")]
        write_safetensors(path / "sound.safetensors", specs, arrays)
        yield path


def saved(legacy: bool) -> bytes:
    buffer = io.BytesIO()
    state_dict = {"a": torch.ones(2, 3), "b": torch.ones(3).bfloat16()}
    torch.save(state_dict, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The bytes with a few of them changed, or cut off, or with others at the end."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        del content[draw(st.integers(0, len(content) - 1)) :]
    return bytes(content) + draw(st.binary(max_size=3))


def read_or_refuse(path: Path) -> None:
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError as error:
        message = str(error)
    else:
        message = str(path)
        with checkpoint:
            for name, spec in checkpoint.tensors.items():
                assert checkpoint.read(name).shape == spec.shape
    assert str(path.parent) in message
    assert "\n" not in message


@given(data=st.data())
def test_safetensors(folder: Path, data: st.DataObject) -> None:
    path = folder / "damaged.safetensors"
    path.write_bytes(data.draw(damaged((folder / "sound.safetensors").read_bytes())))
    read_or_refuse(path)


@settings(max_examples=60)
@given(data=st.data(), legacy=st.booleans())
def test_torch_files(folder: Path, data: st.DataObject, legacy: bool) -> None:
    path = folder / "damaged.pt"
    path.write_bytes(data.draw(damaged(saved(legacy))))
    read_or_refuse(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("sound.safetensors"),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["weight_map", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(content=JSON.map(json.dumps).map(str.encode) | st.binary(max_size=20))
def test_indices(folder: Path, content: bytes) -> None:
    path = folder / "model.safetensors.index.json"
    path.write_bytes(content)
    read_or_refuse(path)
