"""Sharded folders: an index, its shards, and every way in which they can disagree."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tvbank.checkpoint import TensorSpec, open_checkpoint, write_safetensors

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS = {FIRST: {"a": 1.0, "c": 3.0}, SECOND: {"b": 2.0}}


def write_shard(path: Path, values: dict[str, float]) -> None:
    specs = [TensorSpec(name, "float32", (2,)) for name in values]
    write_safetensors(path, specs, lambda name: np.full(2, values[name], np.float32))


def write_index(path: Path, placed: Any) -> None:
    path.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": placed}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for file, values in SHARDS.items():
        write_shard(tmp_path / file, values)
    write_index(tmp_path / "model.safetensors.index.json", {"a": FIRST, "b": SECOND, "c": FIRST})
    return tmp_path


@pytest.mark.parametrize("name", ["", "model.safetensors.index.json"])
def test_all_shards_are_one_checkpoint(folder: Path, name: str) -> None:
    with open_checkpoint(folder / name) as checkpoint:
        assert checkpoint.source == str(folder / "model.safetensors.index.json")
        assert list(checkpoint.tensors) == ["a", "c", "b"]
        assert [checkpoint.read(name)[0] for name in "abc"] == [1, 2, 3]


def test_any_name_of_an_index(folder: Path) -> None:
    index = folder / "model.safetensors.index.json"
    index.rename(folder / "vit.safetensors.index.json")
    with open_checkpoint(folder) as checkpoint:
        assert len(checkpoint.tensors) == 3


def test_shards_that_are_links_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (folder / FIRST).rename(cache / "blob")
    (folder / FIRST).symlink_to(cache / "blob")
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.read("a")[0] == 1


def test_shards_in_a_subfolder(folder: Path) -> None:
    (folder / "parts").mkdir()
    (folder / FIRST).rename(folder / "parts" / FIRST)
    placed = {"a": f"parts/{FIRST}", "b": SECOND, "c": f"parts/{FIRST}"}
    write_index(folder / "model.safetensors.index.json", placed)
    with open_checkpoint(folder) as checkpoint:
        assert checkpoint.read("c")[0] == 3


def test_shard_missing(folder: Path, refusal: Callable[[Any], str]) -> None:
    (folder / SECOND).unlink()
    message = refusal(folder)
    assert f"the shard {SECOND!r}" in message
    assert "is missing" in message


def test_shard_truncated(folder: Path, refusal: Callable[[Any], str]) -> None:
    (folder / SECOND).write_bytes((folder / SECOND).read_bytes()[:-1])
    message = refusal(folder)
    assert SECOND in message
    assert "is truncated" in message


def test_tensor_in_two_shards(folder: Path, refusal: Callable[[Any], str]) -> None:
    write_shard(folder / SECOND, {"a": 1.0, "b": 2.0})
    message = refusal(folder)
    assert "tensor 'a' is in two shards" in message
    assert FIRST in message
    assert SECOND in message


def test_tensor_that_the_shard_lacks(folder: Path, refusal: Callable[[Any], str]) -> None:
    write_shard(folder / FIRST, {"a": 1.0})
    assert f"tensor 'c' is in the shard {FIRST!r}, which lacks it" in refusal(folder)


def test_tensor_in_another_shard_than_listed(folder: Path, refusal: Callable[[Any], str]) -> None:
    write_index(folder / "model.safetensors.index.json", {"a": FIRST, "b": SECOND, "c": SECOND})
    assert f"tensor 'c' is in the shard {SECOND!r}, which lacks it" in refusal(folder)


def test_tensor_that_the_index_lacks(folder: Path, refusal: Callable[[Any], str]) -> None:
    write_index(folder / "model.safetensors.index.json", {"a": FIRST, "b": SECOND})
    assert "holds tensor 'c', which" in refusal(folder)


@pytest.mark.parametrize(
    "file",
    [
        "../model.safetensors",
        "parts/../../model.safetensors",
        "/etc/passwd",
        "..\\model.safetensors",
        "C:\\model.safetensors",
        "C:model.safetensors",
        "\\\\server\\share\\model.safetensors",
        "..",
        ".",
        "",
        "model\0.safetensors",
        "model\n.safetensors",
    ],
)
def test_shards_outside_the_folder(folder: Path, file: str, refusal: Callable[[Any], str]) -> None:
    write_index(folder / "model.safetensors.index.json", {"a": file})
    assert "outside its folder" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        b'{"weight_map": []}',
        b'{"weight_map": {"a": 3}}',
        b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}',
        b"[" * 100_000,
    ],
)
def test_indices_that_are_none(folder: Path, text: bytes, refusal: Callable[[Any], str]) -> None:
    (folder / "model.safetensors.index.json").write_bytes(text)
    message = refusal(folder)
    assert "model.safetensors.index.json" in message
    assert "fetch it again" in message


def test_a_huge_index_is_not_read(folder: Path, refusal: Callable[[Any], str]) -> None:
    with open(folder / "model.safetensors.index.json", "wb") as file:
        file.truncate(10**12)
    assert "is over 100000000 bytes" in refusal(folder)


def test_a_safetensors_index_never_opens_a_pickle(
    folder: Path, refusal: Callable[[Any], str]
) -> None:
    torch.save({"a": torch.ones(2)}, folder / "weights.bin")
    write_index(folder / "model.safetensors.index.json", {"a": "weights.bin"})
    assert "safetensors file" in refusal(folder)


def test_torch_shards(tmp_path: Path) -> None:
    embedding = torch.randn(3, 2)
    first, second = "pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"
    torch.save({"embedding": embedding, "head": embedding}, tmp_path / first)
    torch.save({"bias": torch.ones(2)}, tmp_path / second)
    write_index(
        tmp_path / "pytorch_model.bin.index.json",
        {"embedding": first, "head": first, "bias": second},
    )
    with open_checkpoint(tmp_path) as checkpoint:
        assert set(checkpoint.tensors) == {"embedding", "bias"}
        assert checkpoint.tied == {"head": "embedding"}
        np.testing.assert_array_equal(checkpoint.read("head"), embedding.numpy())
