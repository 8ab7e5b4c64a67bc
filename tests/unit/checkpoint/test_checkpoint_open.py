"""Which kind a source is; sources that are none; folders; what opening imports."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tvbank.checkpoint import (
    TensorSpec,
    borrow_checkpoint,
    open_checkpoint,
    write_safetensors,
)
from tvbank.errors import CheckpointError, UsageError


def write(path: Path, value: float = 1.0) -> Path:
    write_safetensors(path, [TensorSpec("a", "float32", (2,))], [np.full(2, value, np.float32)])
    return path


def value_of(source: Any) -> float:
    with open_checkpoint(source) as checkpoint:
        return float(checkpoint.read("a")[0])


def test_a_checkpoint_is_returned_as_is() -> None:
    checkpoint = open_checkpoint({"a": np.ones(2)})
    assert open_checkpoint(checkpoint) is checkpoint


def test_borrowing_closes_only_what_it_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors")
    with open_checkpoint(path) as mine:
        with borrow_checkpoint(mine) as borrowed:
            assert borrowed is mine
        assert mine.read("a")[0] == 1
    with borrow_checkpoint(path) as opened:
        pass
    with pytest.raises(CheckpointError, match="is closed"):
        opened.read("a")


@pytest.mark.parametrize("kind", [str, Path])
def test_paths(tmp_path: Path, kind: Callable[[Path], Any]) -> None:
    path = write(tmp_path / "MODEL.SafeTensors")
    with open_checkpoint(kind(path)) as checkpoint:
        assert checkpoint.source == str(path)
        assert repr(checkpoint) == f"<SafetensorsCheckpoint {path}: 1 tensors>"


@pytest.mark.parametrize("source", [None, 3, ["a"], b"model.safetensors"])
def test_other_types(source: Any) -> None:
    with pytest.raises(UsageError, match=f"not a {type(source).__name__}"):
        open_checkpoint(source)


@pytest.mark.parametrize("name", ["nothing.safetensors", "nothing", "model.safetensors/x", "\0"])
def test_missing(tmp_path: Path, name: str, refusal: Callable[[Any], str]) -> None:
    write(tmp_path / "model.safetensors")
    message = refusal(tmp_path / name)
    assert "no such file or folder" in message
    assert repr(str(tmp_path / name)) in message


@pytest.mark.parametrize("name", ["model.gguf", "model.h5", "model.npz", "model", "index.json"])
def test_unknown_kinds(tmp_path: Path, name: str, refusal: Callable[[Any], str]) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    assert "known kind" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_pipe_does_not_block(tmp_path: Path, name: str, refusal: Callable[[Any], str]) -> None:
    os.mkfifo(tmp_path / name)
    assert "is not a file" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt", "model.safetensors.index.json"])
@pytest.mark.parametrize(
    ("error", "words"),
    [(PermissionError(13, "Permission denied"), "permission denied"), (OSError(5, "I/O"), "(I/O)")],
)
def test_files_that_cannot_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Callable[[Any], str],
    name: str,
    error: OSError,
    words: str,
) -> None:
    path = write(tmp_path / name)
    genuine = builtins.open

    def refuse(file: Any, *arguments: Any, **keywords: Any) -> Any:
        if str(file) == str(path):
            raise error
        return genuine(file, *arguments, **keywords)

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr("io.open", refuse)
    assert words in refusal(path)


class TestFolders:
    def test_nothing_there(self, tmp_path: Path, refusal: Callable[[Any], str]) -> None:
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "optimizer.pt").write_bytes(b"")
        message = refusal(tmp_path)
        for looked_for in ("model.safetensors", "*.safetensors.index.json", "pytorch_model.bin"):
            assert looked_for in message

    def test_only_file(self, tmp_path: Path) -> None:
        write(tmp_path / "vit.safetensors", 3)
        write(tmp_path / ".tmp-vit.safetensors", 4)
        (tmp_path / "folder.safetensors").mkdir()
        assert value_of(tmp_path) == 3

    def test_model_before_others(self, tmp_path: Path) -> None:
        write(tmp_path / "adapter.safetensors", 3)
        write(tmp_path / "model.safetensors", 4)
        (tmp_path / "pytorch_model.bin").write_bytes(b"")
        assert value_of(tmp_path) == 4

    def test_several(self, tmp_path: Path, refusal: Callable[[Any], str]) -> None:
        write(tmp_path / "a.safetensors")
        write(tmp_path / "b.safetensors")
        assert "several checkpoints (a.safetensors, b.safetensors)" in refusal(tmp_path)

    def test_not_listable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Callable[[Any], str]
    ) -> None:
        def refuse(path: Path) -> Any:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "iterdir", refuse)
        assert "permission denied" in refusal(tmp_path)


def test_torch_and_numba_stay_out(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors")
    program = (
        "import sys, numpy as np; from tvbank.checkpoint import *\n"
        f"open_checkpoint({str(path)!r}).read('a')\n"
        "open_checkpoint({'a': np.ones(2)}).read('a')\n"
        "sys.exit(bool({'torch', 'numba', 'zarr'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
