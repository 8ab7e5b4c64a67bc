"""Files of ``torch.save``: ties, nesting, the legacy format, and pickles that must not run."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tvbank.checkpoint import open_checkpoint


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    def save_as(content: Any, name: str = "model.pt") -> Path:
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=request.param == "zip")
        return tmp_path / name

    return save_as


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "pytorch_model.bin"])
def test_round_trip_with_ties(save: Callable[..., Path], name: str) -> None:
    weight = torch.randn(3, 4)
    state_dict = {
        "embedding": weight,
        "head": weight,
        "turned": weight.t(),
        "half": weight.bfloat16(),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    in_memory = open_checkpoint(state_dict)
    with open_checkpoint(save(state_dict, name)) as checkpoint:
        assert dict(checkpoint.tensors) == dict(in_memory.tensors)
        assert checkpoint.tied == {"head": "embedding"}
        for tensor in state_dict:
            assert checkpoint.read(tensor).tobytes() == in_memory.read(tensor).tobytes()


def test_arrays_outlive_the_checkpoint(save: Callable[..., Path]) -> None:
    with open_checkpoint(save({"a": torch.ones(1000)})) as checkpoint:
        array = checkpoint.read("a")
    del checkpoint
    assert array.sum() == 1000


def test_pytorch_model_of_a_folder(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    torch.save({"lr": 0.1}, tmp_path / "training_args.bin")
    assert list(open_checkpoint(tmp_path).tensors) == ["a"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights},
        lambda weights: {"model": weights, "epoch": 3, "best": torch.tensor(0.9)},
        lambda weights: {
            "model_state_dict": weights,
            "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{}]},
        },
        lambda weights: {"network": weights, "loss": 0.1, 3: "key"},
    ],
)
def test_a_state_dict_among_other_things(
    save: Callable[..., Path], wrap: Callable[[Any], Any]
) -> None:
    with open_checkpoint(save(wrap({"a": torch.ones(2)}))) as checkpoint:
        assert list(checkpoint.tensors) == ["a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"a": torch.ones(2)}, "ema": {"a": torch.ones(2)}}, "('model', 'ema')"),
        ({"a": torch.ones(2), "epoch": 3}, "'epoch' is not a tensor"),
        ({"a": torch.ones(2), "part": {"b": torch.ones(2)}}, "'part' is not a tensor"),
        ({"state_dict": {"a": torch.ones(2), "_extra_state": 3}}, "'_extra_state'"),
        ({"state_dict": {3: torch.ones(2)}}, "the key 3"),
        ({"epoch": 3}, "no state dict but a dict"),
        ({}, "no state dict but a dict"),
        ([torch.ones(2)], "no state dict but a list"),
        (torch.ones(2), "no state dict but a Tensor"),
        (3, "no state dict but a int"),
        ({"a": torch.ones(2).to_sparse()}, "'a' is sparse"),
        ({"a": torch.ones(2, device="meta")}, "'a' is on the meta device"),
    ],
)
def test_files_without_one_state_dict(
    tmp_path: Path, content: Any, words: str, refusal: Callable[[Any], str]
) -> None:
    torch.save(content, tmp_path / "model.pt")
    message = refusal(tmp_path / "model.pt")
    assert words in message
    assert str(tmp_path) in message


class Malicious:
    """Unpickled by pickle itself, it creates a folder; nothing may ever unpickle it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def plain_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def old_pickle(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [torch.save, legacy, plain_pickle, old_pickle])
@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_malicious_pickles_do_not_run(
    tmp_path: Path,
    refusal: Callable[[Any], str],
    write: Callable[[Any, Path], None],
    name: str,
) -> None:
    write({"a": torch.ones(2), "b": Malicious(tmp_path / "pwned")}, tmp_path / name)
    message = refusal(tmp_path / name)
    assert "convert it to safetensors" in message
    assert not (tmp_path / "pwned").exists()


def test_what_was_refused_is_named(tmp_path: Path, refusal: Callable[[Any], str]) -> None:
    torch.save({"a": Malicious(tmp_path / "pwned")}, tmp_path / "model.pt")
    assert "posix.mkdir" in refusal(tmp_path / "model.pt")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    assert "torch.nn.modules.linear.Linear" in refusal(tmp_path / "module.pt")


@pytest.mark.parametrize("keep", [0, 1, 4, 100, 0.5, 0.99])
def test_truncated(save: Callable[..., Path], refusal: Callable[[Any], str], keep: float) -> None:
    path = save({"a": torch.ones(1000)})
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    assert str(path) in refusal(path)


def test_compressed_archives_would_be_misread(
    tmp_path: Path, refusal: Callable[[Any], str]
) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1000)}, buffer)
    with (
        zipfile.ZipFile(buffer) as stored,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as compressed,
    ):
        for record in stored.infolist():
            compressed.writestr(record.filename, stored.read(record))
    assert "has compressed records" in refusal(tmp_path / "model.pt")


def test_stored_archives_need_not_be_aligned(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(1000.0)}, buffer)
    with (
        zipfile.ZipFile(buffer) as torchs,
        zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_STORED) as copy,
    ):
        for record in torchs.infolist():
            copy.writestr(record.filename, torchs.read(record))
    array = open_checkpoint(tmp_path / "model.pt").read("a")
    assert array.flags.aligned
    np.testing.assert_array_equal(array, np.arange(1000))


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04hello", b"\x80\x02}.", b"."])
def test_other_bytes(tmp_path: Path, content: bytes, refusal: Callable[[Any], str]) -> None:
    (tmp_path / "model.pt").write_bytes(content)
    assert "model.pt" in refusal(tmp_path / "model.pt")
