"""The streaming writer: bytes that the safetensors library reads, and all-or-nothing."""

from __future__ import annotations

import json
import os
import resource
import stat
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tvbank.checkpoint import TensorSpec, aligned_order, open_checkpoint, write_safetensors
from tvbank.errors import StorageError, UsageError

PAIR = [TensorSpec("b", "float32", (2, 3)), TensorSpec("a", "int8", (3,))]
ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.arange(3, dtype=np.int8),
}


def header_of(path: Path) -> tuple[int, dict[str, Any]]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return length, json.loads(content[8 : 8 + length])


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A target in a folder in which no temporary file may be left."""
    yield tmp_path / "out.safetensors"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".tmp-")]


@pytest.mark.parametrize("tensors", [ARRAYS.__getitem__, list(ARRAYS.values()), None])
def test_arrays_by_name_or_in_order(path: Path, tensors: Any) -> None:
    write_safetensors(path, PAIR, tensors or iter(ARRAYS.values()))
    loaded = load_file(path)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_header(path: Path) -> None:
    write_safetensors(path, PAIR, ARRAYS.__getitem__, {"task": "größer"})
    length, header = header_of(path)
    assert length % 8 == 0
    assert list(header) == ["__metadata__", "b", "a"]
    assert header["b"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    with safe_open(path, "np") as file:
        assert file.metadata() == {"task": "größer"}


@pytest.mark.parametrize(
    ("metadata", "expected"), [(None, {"format": "pt"}), ({}, None), ({"a": "b"}, {"a": "b"})]
)
def test_metadata(path: Path, metadata: Any, expected: Any) -> None:
    write_safetensors(path, [], [], metadata)
    with safe_open(path, "np") as file:
        assert file.metadata() == expected


def test_same_input_same_bytes(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    for target in (path, other):
        write_safetensors(target, PAIR, ARRAYS.__getitem__)
    assert path.read_bytes() == other.read_bytes()


def test_strides_and_byte_orders(path: Path) -> None:
    array = np.arange(12, dtype=">f8").reshape(3, 4)
    specs = [TensorSpec("turned", "float64", (4, 3)), TensorSpec("scalar", "float64", ())]
    write_safetensors(path, specs, [array.T, np.array(2.0, ">f8")])
    with open_checkpoint(path) as checkpoint:
        np.testing.assert_array_equal(checkpoint.read("turned"), array.T)
        assert checkpoint.read("scalar") == 2


def test_aligned_order_keeps_large_items_aligned(path: Path) -> None:
    specs = [
        TensorSpec("byte", "uint8", (3,)),
        TensorSpec("word", "float32", (3,)),
        TensorSpec("long", "int64", (3,)),
        TensorSpec("half", "bfloat16", (3,)),
        TensorSpec("other", "int32", ()),
    ]
    ordered = aligned_order(specs)
    assert [spec.name for spec in ordered] == ["long", "word", "other", "half", "byte"]


def test_one_tensor_in_memory(path: Path) -> None:
    specs = [TensorSpec(str(i), "float32", (2**18,)) for i in range(8)]
    tracemalloc.start()
    write_safetensors(path, specs, lambda name: np.full(2**18, int(name), np.float32))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * specs[0].nbytes


def test_permissions_are_those_of_a_new_file(path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_safetensors(path, [], [])
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("specs", "arrays", "words"),
    [
        (PAIR, [ARRAYS["b"]], "no array for tensor 'a'"),
        (PAIR, [*ARRAYS.values(), np.ones(1)], "more arrays than the 2 specs"),
        (PAIR, [ARRAYS["a"], ARRAYS["b"]], "'b' was announced as float32 [2, 3] and is int8 [3]"),
        ([PAIR[0], PAIR[0]], [ARRAYS["b"]] * 2, "twice"),
        ([TensorSpec("__metadata__", "bool", ())], [np.array(True)], "reserved"),
        ([TensorSpec("a", "float128", ())], [np.array(1.0)], "cannot be float128"),
        ([TensorSpec("a", "bool", (-1,))], [np.array(True)], "cannot be bool [-1]"),
        ([TensorSpec("\ud800", "bool", ())], [np.array(True)], "Unicode"),
    ],
)
def test_contradictions(path: Path, specs: Any, arrays: Any, words: str) -> None:
    path.write_bytes(b"before")
    with pytest.raises(UsageError) as caught:
        write_safetensors(path, specs, arrays)
    assert words in str(caught.value)
    assert path.read_bytes() == b"before"


def test_metadata_must_be_texts(path: Path) -> None:
    with pytest.raises(UsageError, match="texts"):
        write_safetensors(path, [], [], {"epoch": 3})  # type: ignore[dict-item]


def test_a_header_beyond_the_format(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tvbank.checkpoint._write_safetensors.MAX_JSON_BYTES", 100)
    with pytest.raises(UsageError, match="over the format's limit of 100"):
        write_safetensors(path, PAIR, ARRAYS.__getitem__)


@pytest.mark.parametrize("error", [KeyError("x"), OSError("mine"), KeyboardInterrupt()])
def test_failures_of_the_source_pass_through(path: Path, error: BaseException) -> None:
    def broken(name: str) -> Any:
        if name == "a":
            raise error
        return ARRAYS[name]

    path.write_bytes(b"before")
    with pytest.raises(type(error)) as caught:
        write_safetensors(path, PAIR, broken)
    assert caught.value is error
    assert path.read_bytes() == b"before"


class TestStorage:
    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match=r"No such file.*; create the folder first"):
            write_safetensors(tmp_path / "none" / "out.safetensors", [], [])

    def test_a_folder_in_the_way(self, path: Path) -> None:
        path.mkdir()
        with pytest.raises(StorageError, match="Is a directory"):
            write_safetensors(path, [], [])

    @pytest.mark.parametrize("place", ["", ".", "/", "\0", "out\0.safetensors"])
    def test_paths_that_cannot_be(
        self, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        with pytest.raises(StorageError, match="cannot write"):
            write_safetensors(place, [], [])
        assert not os.listdir(tmp_path)

    def test_disk_full(self, path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        path.write_bytes(b"before")
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
        try:
            with pytest.raises(StorageError, match="File too large"):
                write_safetensors(
                    path, [TensorSpec("a", "uint8", (2**20,))], [np.zeros(2**20, np.uint8)]
                )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_bytes() == b"before"

    @pytest.mark.parametrize(
        ("call", "number", "words"),
        [
            ("open", 30, "Read-only file system; choose a place"),
            ("open", 13, "Permission denied; choose a place"),
            ("write", 28, "No space left on device; free some space"),
            ("fsync", 28, "No space left on device; free some space"),
            ("replace", 13, "Permission denied; choose a place"),
        ],
    )
    def test_refusals_of_the_system(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, words: str
    ) -> None:
        def refuse(*arguments: Any) -> Any:
            raise OSError(number, os.strerror(number))

        path.write_bytes(b"before")
        with monkeypatch.context() as patched:
            patched.setattr(os, call, refuse)
            with pytest.raises(StorageError) as caught:
                write_safetensors(path, PAIR, ARRAYS.__getitem__)
        assert words in str(caught.value)
        assert repr(str(path)) in str(caught.value)
        assert path.read_bytes() == b"before"


def test_short_writes_are_continued(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine: Callable[..., int] = os.write

    def short(descriptor: int, data: memoryview) -> int:
        return genuine(descriptor, data[:7])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", short)
        write_safetensors(path, PAIR, ARRAYS.__getitem__)
    np.testing.assert_array_equal(load_file(path)["b"], ARRAYS["b"])
