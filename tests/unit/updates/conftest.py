"""An old and a new checkpoint as files, the new one with everything that is awkward."""

import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

rng = np.random.default_rng(5)


def old_model():
    return {
        "embed.weight": rng.standard_normal((9, 4)).astype(ml_dtypes.bfloat16),
        "layer.weight": rng.standard_normal((8, 6)).astype(np.float32),
        "layer.bias": np.zeros(8, np.float32),
        "half": rng.standard_normal((3, 7)).astype(np.float16),
        "steps": np.array([3], np.int64),
    }


def new_model(old, *, resized=True):
    new = {name: array.copy() for name, array in old.items()}
    new["layer.weight"][::2] += np.float32(1e-3)
    new["layer.bias"][:3] = np.array([0x7FC00001, 0xFF800001, 0x80000000], np.uint32).view(
        np.float32
    )  # two NaN with payloads, and -0.0
    new["steps"] = new["steps"] + 1
    if resized:
        new["embed.weight"] = rng.standard_normal((11, 4)).astype(ml_dtypes.bfloat16)
        new["head"] = rng.standard_normal((2, 4)).astype(np.float32)
    return new


def assert_same(found, expected):
    """Bit for bit, element types and shapes too."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name


def save_folder(folder: Path, tensors, placed):
    """A folder of shards with an index, a configuration and a tokenizer."""
    folder.mkdir()
    for file in set(placed.values()):
        some = {name: array for name, array in tensors.items() if placed[name] == file}
        save_file(some, folder / file, metadata={"format": "pt", "of": file})
    index = {"metadata": {"total_size": 1, "note": "kept"}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    return folder


def load_folder(folder: Path):
    """Its tensors, as the index says where they are; no other shard lies there."""
    placed = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    shards = {file: load_file(folder / file) for file in set(placed.values())}
    assert {path.name for path in folder.glob("*.safetensors")} == set(shards)
    assert sorted(placed) == sorted(name for shard in shards.values() for name in shard)
    return {name: shards[file][name] for name, file in placed.items()}


PLACED = {
    "embed.weight": "model-00001-of-00003.safetensors",
    "layer.weight": "model-00002-of-00003.safetensors",
    "layer.bias": "model-00002-of-00003.safetensors",
    "half": "model-00003-of-00003.safetensors",
    "steps": "model-00002-of-00003.safetensors",
}


@pytest.fixture
def models(tmp_path):
    """``old`` and ``new`` state dicts; their files in ``tmp_path``."""
    old = old_model()
    new = new_model(old)
    save_file(old, tmp_path / "old.safetensors", metadata={"format": "pt", "by": "us"})
    save_file(new, tmp_path / "new.safetensors")
    return old, new
