"""Torch files with more in them than weights, and pickles whose keys would never be hashed."""

from __future__ import annotations

import argparse
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tvbank.checkpoint import open_checkpoint
from tvbank.checkpoint._pickle_bounds import objection_to

WEIGHTS = {"a": torch.arange(3.0)}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("name", ["last.ckpt", "model_best.pth.tar", "model.pt"])
@pytest.mark.parametrize(
    "beside",
    [
        {"best": np.float64(0.9)},
        {"best": np.int64(3), "flag": np.bool_(True)},
        {"history": np.arange(4)},
        {"args": argparse.Namespace(lr=0.1, out=Path("x"))},
        {"epoch": 3, "callbacks": {"ModelCheckpoint": {"best": torch.tensor(0.5)}}},
    ],
)
def test_what_lies_beside_the_weights_refuses_nothing(
    tmp_path: Path, new: bool, name: str, beside: dict[str, Any]
) -> None:
    content = {"state_dict": WEIGHTS, **beside}
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=new)
    open_checkpoint(tmp_path / name).close()  # torch's first load allows more
    before = set(torch.serialization.get_safe_globals())  # in no order of their own
    with open_checkpoint(tmp_path / name) as checkpoint:
        assert checkpoint.read("a").tolist() == [0, 1, 2]
    assert set(torch.serialization.get_safe_globals()) == before


def test_what_is_left_out_is_no_weight(tmp_path: Path, refusal: Callable[[Any], str]) -> None:
    torch.save(WEIGHTS | {"b": np.arange(3)}, tmp_path / "model.pt")
    assert "entry 'b' is not a tensor" in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"unified": WEIGHTS, "masks": [WEIGHTS], "rescalers": [1.0]}, "under 'unified'"),
        ({"delta": WEIGHTS}, "under 'delta'"),
        ({"task_vector": WEIGHTS, "fisher": WEIGHTS}, "under 'task_vector', 'fisher'"),
        ({"model": WEIGHTS, "model_ema": WEIGHTS}, "('model', 'model_ema')"),
        ({"model": WEIGHTS, "state_dict": WEIGHTS}, "('state_dict', 'model')"),
    ],
)
def test_only_known_names_hold_a_state_dict(
    tmp_path: Path, content: Any, words: str, refusal: Callable[[Any], str]
) -> None:
    torch.save(content, tmp_path / "model.pt")
    assert words in refusal(tmp_path / "model.pt")


@pytest.mark.parametrize("key", ["state_dict", "model", "module", "params", "state_dict_ema"])
def test_a_known_name_among_others(tmp_path: Path, key: str) -> None:
    torch.save({key: WEIGHTS, "delta": {"a": torch.ones(3)}}, tmp_path / "model.pt")
    assert open_checkpoint(tmp_path / "model.pt").read("a").tolist() == [0, 1, 2]


def twice(depth: int) -> bytes:
    """A tuple of a tuple twice, of a tuple twice, and so on, under one key of a dictionary."""
    pairs = b"".join(
        b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(depth)
    )
    return b"\x80\x02)q\x00" + pairs + b"}h" + bytes([depth]) + b"K\x01s."


def as_argument(depth: int) -> bytes:
    """The same, hashed by the constructor of a set."""
    inner = twice(depth)[2:]
    pairs = inner[: inner.index(b"}")]
    return b"\x80\x02" + pairs + b"0" * 0 + b"cbuiltins\nset\n]h" + bytes([depth]) + b"a\x85R."


def colliding(count: int) -> bytes:
    """Keys that are all congruent modulo 2**61 - 1."""
    keys = (
        b"\x8a\x10" + (i * (2**61 - 1) + 2**64).to_bytes(16, "little", signed=True) + b"N"
        for i in range(count)
    )
    return b"\x80\x02}(" + b"".join(keys) + b"u."


def deep(depth: int) -> bytes:
    """A tuple in a tuple in a tuple: hashing would overflow the processor's stack."""
    return b"\x80\x02)" + b"\x85" * depth + b"q\x00}h\x00Ns."


@pytest.mark.parametrize("bomb", [twice(40), as_argument(40), colliding(50_000), deep(100_000)])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_that_would_not_end_are_refused(
    tmp_path: Path, bomb: bytes, zipped: bool, refusal: Callable[[Any], str]
) -> None:
    path = tmp_path / "model.pt"
    if zipped:
        buffer = io.BytesIO()
        torch.save(WEIGHTS, buffer)
        with zipfile.ZipFile(buffer) as sound, zipfile.ZipFile(path, "w") as forged:
            for name in sound.namelist():
                forged.writestr(name, bomb if name.endswith("data.pkl") else sound.read(name))
    else:
        path.write_bytes(bomb)
    assert "do not trust it" in refusal(path)


def test_pickles_of_checkpoints_are_within_the_bounds() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(300)))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    content = {
        "model": model.state_dict(),
        "optimizer": optimiser.state_dict(),
        "seen": set(range(1000)),
        "shapes": {(i, j): i for i in range(20) for j in range(20)},
        "parameter": model[0].weight,
    }
    for new in (True, False):
        buffer = io.BytesIO()
        torch.save(content, buffer, _use_new_zipfile_serialization=new)
        if new:
            with zipfile.ZipFile(buffer) as archive:
                [name] = [n for n in archive.namelist() if n.endswith("data.pkl")]
                assert objection_to(io.BytesIO(archive.read(name))) is None
        else:
            buffer.seek(0)
            assert [objection_to(buffer) for _ in range(5)] == [None] * 5


def test_a_zip_directory_has_a_bound(tmp_path: Path, refusal: Callable[[Any], str]) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = (2**24 + 1).to_bytes(4, "little")
    path.write_bytes(bytes(data[:end]) + bytes(2**24 + 2) + bytes(data[end:]))
    assert "zip directory" in refusal(path)


def test_a_record_twice_is_refused(tmp_path: Path, refusal: Callable[[Any], str]) -> None:
    torch.save(WEIGHTS, tmp_path / "model.pt")
    with (
        zipfile.ZipFile(tmp_path / "model.pt", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate"),
    ):
        archive.writestr(archive.namelist()[0], b"other")
    assert "two records of one name" in refusal(tmp_path / "model.pt")


def test_a_name_twice_in_a_header_that_is_too_short(
    make_safetensors: Callable[..., Path], refusal: Callable[[Any], str]
) -> None:
    entry = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    path = make_safetensors(b"{" + entry + b"," + entry + b"}", bytes(9))
    assert "'a' is there twice" in refusal(path)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_traced_and_scripted_modules_are_read() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)).eval()
    plain = open_checkpoint(module)
    for made in (torch.jit.trace(module, torch.ones(2, 3)), torch.jit.script(module)):
        checkpoint = open_checkpoint(made)
        assert dict(checkpoint.tensors) == dict(plain.tensors)
        assert checkpoint.is_buffer("1.running_var")
        assert not checkpoint.is_buffer("0.weight")
        assert checkpoint.read("0.weight").tobytes() == plain.read("0.weight").tobytes()


class Wrapped(torch.Tensor):
    """A tensor subclass that holds another tensor, as DTensor and quantised weights do."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> Any:
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner: torch.Tensor) -> None:
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(str(func))


def test_modules_without_plain_weights_are_refused(refusal: Callable[[Any], str]) -> None:
    assert "meta" in refusal(torch.nn.Linear(2, 2, device="meta"))
    assert "Wrapped" in refusal({"w": Wrapped(torch.ones(2))})

    class Broken(torch.nn.Module):
        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("no shards here")

    assert "AssertionError: no shards here" in refusal(Broken())


def test_a_file_that_vanishes_while_it_is_identified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tvbank.checkpoint import _open
    from tvbank.errors import CheckpointError

    torch.save(WEIGHTS, tmp_path / "model.pt")

    def size(path: Path) -> int:
        found = path.stat().st_size
        os.unlink(path)
        return found

    monkeypatch.setattr(_open, "regular_file_size", size)
    with pytest.raises(CheckpointError, match="there is no such file"):
        _open.identify_checkpoint(tmp_path / "model.pt")
