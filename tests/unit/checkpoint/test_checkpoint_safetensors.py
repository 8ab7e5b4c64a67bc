"""Single safetensors files, sound and unsound."""

from __future__ import annotations

import gc
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import save_file

from tvbank.checkpoint import TensorSpec, open_checkpoint, write_safetensors
from tvbank.coding.decoding.elements import KINDS
from tvbank.dtypes import DTYPES, ELEMENT_TYPES, UNIT_DTYPES, WHOLE_DTYPES
from tvbank.errors import CheckpointError

MEBIBYTE = 2**20


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_the_format_has_a_code_for_every_element_type() -> None:
    assert len({row.code for row in ELEMENT_TYPES.values()}) == len(DTYPES)
    assert {*UNIT_DTYPES, *WHOLE_DTYPES} == set(DTYPES)
    assert UNIT_DTYPES == KINDS  # what is decoded into units


@pytest.mark.parametrize("dtype", DTYPES)
def test_reads_what_the_library_wrote(tmp_path: Path, dtype: str) -> None:
    tensors = {
        "scalar": torch.ones(()).to(getattr(torch, dtype)),
        "empty": torch.ones(0, 3).to(getattr(torch, dtype)),
        "matrix": torch.ones(3, 5).to(getattr(torch, dtype)),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    with open_checkpoint(tmp_path / "model.safetensors") as checkpoint:
        in_memory = open_checkpoint(tensors)
        assert dict(checkpoint.tensors) == dict(in_memory.tensors)
        for name in tensors:
            array = checkpoint.read(name)
            assert array.dtype == DTYPES[dtype]
            assert array.flags.c_contiguous
            assert array.flags.aligned
            assert not array.flags.writeable
            assert array.tobytes() == in_memory.read(name).tobytes()


def test_misaligned_data(make_safetensors: Callable[..., Path]) -> None:
    values = np.arange(3, dtype="<f4")
    header = {"byte": entry("U8", [1], 0, 1), "floats": entry("F32", [3], 1, 13)}
    checkpoint = open_checkpoint(make_safetensors(header, b"\x07" + values.tobytes()))
    array = checkpoint.read("floats")
    assert array.flags.aligned
    np.testing.assert_array_equal(array, values)


def test_tensors_come_in_the_order_of_their_bytes(make_safetensors: Callable[..., Path]) -> None:
    header = {"z": entry("U8", [1], 2, 3), "a": entry("U8", [1], 1, 2), "m": entry("U8", [1], 0, 1)}
    assert list(open_checkpoint(make_safetensors(header, b"abc")).tensors) == ["m", "a", "z"]


def test_arrays_outlive_the_checkpoint(make_safetensors: Callable[..., Path]) -> None:
    path = make_safetensors({"a": entry("U8", [3], 0, 3)}, b"abc")
    with open_checkpoint(path) as checkpoint:
        array = checkpoint.read("a")
    del checkpoint
    gc.collect()
    assert array.tobytes() == b"abc"


def test_a_file_that_shrinks(make_safetensors: Callable[..., Path]) -> None:
    path = make_safetensors({"a": entry("U8", [3], 0, 3)}, b"abc")
    size = path.stat().st_size
    with open_checkpoint(path) as checkpoint:
        os.truncate(path, 10)
        with pytest.raises(CheckpointError, match=f"shrank from {size} to 10 bytes"):
            checkpoint.read("a")


def test_earlier_arrays_stay_whole(make_safetensors: Callable[..., Path]) -> None:
    header = {"a": entry("U8", [3], 0, 3), "b": entry("U8", [3], 3, 6)}
    with open_checkpoint(make_safetensors(header, b"abcdef")) as checkpoint:
        first, second = checkpoint.read("a"), checkpoint.read("b")
        assert first.tobytes() + second.tobytes() == b"abcdef"


def test_a_pass_keeps_about_one_tensor_in_memory(tmp_path: Path) -> None:
    specs = [TensorSpec(f"layer.{i}", "float32", (MEBIBYTE,)) for i in range(16)]
    path = tmp_path / "model.safetensors"
    write_safetensors(path, specs, lambda name: np.full(MEBIBYTE, len(name), np.float32))
    process = psutil.Process()
    with open_checkpoint(path) as checkpoint:
        before = process.memory_info().rss
        tracemalloc.start()
        resident = []
        for name in checkpoint.tensors:
            checkpoint.read(name).sum()
            resident.append(process.memory_info().rss - before)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < MEBIBYTE
    assert max(resident) < 16 * MEBIBYTE  # the file has 64


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is truncated: it has 0 bytes"),
        (b"\x40\0\0\0\0\0\0\0", "is truncated: it has 8 bytes"),
        (b"\x40\0\0\0\0\0\0\0{", "its header ends at byte 72, the file at 9"),
        (b"\x00\xe1\xf5\x06\0\0\0\0{", "header of 116777216 bytes, over the format's limit"),
        (b"hello, this is a text", "is not a safetensors file; convert it"),
        (b"PK\x03\x04" + bytes(40), "not a"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x05\0\0\0\0\0\0\0hello", "not a valid safetensors file"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a valid safetensors file"),
        (b"\x02\0\0\0\0\0\0\0\xff\xff", "not a valid safetensors file"),
    ],
)
def test_bytes_that_are_no_safetensors(
    tmp_path: Path, content: bytes, words: str, refusal: Callable[[Any], str]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    message = refusal(path)
    assert words in message
    assert str(path) in message


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": entry("F32", [4], 0, 16)}, 8, "asks for 86 bytes, the file has 78"),
        ({"a": entry("F32", [1], 0, 4)}, 6, "has bytes left over"),
        ({"__metadata__": {"a": "b"}}, 1, "has bytes left over"),
        ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, 12, "invalid offset"),
        ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, 4, "invalid offset"),
        ({"a": entry("F32", [2**62, 2**62], 0, 4)}, 4, "overflow"),
        ({"a": entry("F32", [-1], 0, 4)}, 4, "not a valid"),
        ({"a": entry("F64", [1], 0, 4)}, 4, "not a valid"),
        ({"a": entry("F8_E8M0", [1], 0, 1)}, 1, "'a' has the element type F8_E8M0"),
        ({"a": entry("F4", [2], 0, 1)}, 1, "'a' has the element type F4"),
        ({"a": entry("Q7", [2], 0, 1)}, 1, "not a valid"),
    ],
)
def test_headers_that_lie(
    make_safetensors: Callable[..., Path],
    refusal: Callable[[Any], str],
    header: dict[str, Any],
    data: int,
    words: str,
) -> None:
    assert words in refusal(make_safetensors(header, bytes(data)))


def test_truncated_by_one_byte(tmp_path: Path, refusal: Callable[[Any], str]) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, [TensorSpec("a", "float32", (100,))], [np.zeros(100, np.float32)])
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    message = refusal(path)
    assert f"asks for {len(content)} bytes, the file has {len(content) - 1}" in message


def test_a_name_twice(make_safetensors: Callable[..., Path], refusal: Callable[[Any], str]) -> None:
    one = b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    message = refusal(make_safetensors(b"{" + one + b"," + one + b"}", b"x"))
    assert "ambiguous header ('a' is there twice)" in message
