"""Checkpoints in GGUF files, as llama.cpp has them: unquantised tensors, under GGUF's own names.

``GGUF``, version 2 or 3 as u32, numbers of tensors and of members as u64; the members: name, type,
value; of each tensor its name, number of sides, sides (the innermost first), type and offset; the
data, aligned. Everything is little-endian, texts come after their length as u64.

The header is read here and not by the ``gguf`` package, whose reader makes several arrays for each
word of a vocabulary, and for a length that a file merely states runs on for as long.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from tvbank.checkpoint._checkpoint import Checkpoint, TensorSpec
from tvbank.checkpoint._files import regular_file_size, unreadable
from tvbank.dtypes import DTYPES
from tvbank.errors import CheckpointError

__all__ = ["GgufCheckpoint", "GgufFile", "GgufTensor"]

#: Element types that are not quantised, by their number.
_TYPES = {
    0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64",
    30: "bfloat16",
}  # fmt: skip

#: What llama.cpp calls the common quantised ones.
_QUANTISED = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K",
    12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0",
    35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip

#: Numbers among the members, by their type.
_NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8",
    11: "<i8", 12: "<f8",
}  # fmt: skip
_TEXT, _ARRAY = 8, 9

#: Bounds of a header: bytes before the data, tensors, members, sides; texts and arrays kept.
_HEADER_BYTES, _MOST_TENSORS, _MOST_MEMBERS, _MOST_SIDES = 2**29, 2**20, 2**16, 8
_KEPT_TEXT, _KEPT_ENTRIES = 2**16, 2**12


@final
@dataclass(frozen=True)
class GgufTensor:
    """One tensor as the header describes it.

    Attributes:
        name: GGUF's.
        dtype: of ``DTYPES``, or what llama.cpp calls a quantised type.
        shape: as numpy has it, the outermost side first.
        start: of the data, in bytes from the file's beginning.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def spec(self) -> TensorSpec | None:
        """The spec of a tensor that is not quantised."""
        return TensorSpec(self.name, self.dtype, self.shape) if self.dtype in DTYPES else None


@final
class GgufFile:
    """The header of a GGUF file, and its data mapped into memory.

    Attributes:
        metadata: members by name: numbers, texts, short lists of numbers; of others their length.
        tensors: in the file's order.
        data: the whole file.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            CheckpointError: missing, truncated, damaged, or of another version or byte order.
        """
        self._path = path
        size = regular_file_size(path)
        try:
            with open(path, "rb") as file:
                self.data = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        self._at = 0
        if self._take(4) != b"GGUF":
            raise CheckpointError(
                f"{str(path)!r} is not a checkpoint of a known kind: it is called a GGUF file and "
                "is none; convert it to safetensors"
            )
        if (version := self._integer(4)) not in (2, 3):
            raise CheckpointError(
                f"{str(path)!r} is of version {version} of GGUF, or big-endian, and 2 and 3 are "
                "what can be read; convert it anew"
            )
        tensors, members = self._integer(8), self._integer(8)
        if tensors > _MOST_TENSORS or members > _MOST_MEMBERS:
            raise self._damaged(f"it states {tensors} tensors and {members} members")
        self.metadata: Mapping[str, Any] = dict(self._member() for _ in range(members))
        described = [self._tensor() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment not in [2**n for n in range(17)]:
            raise self._damaged(f"its alignment is {alignment!r}")
        start = self._at + -self._at % alignment
        self.tensors = [self._placed(start, *each) for each in described]
        if len({tensor.name for tensor in self.tensors}) < len(self.tensors):
            raise self._damaged("two tensors have one name")

    def _member(self) -> tuple[str, Any]:
        name = self._text()
        return name, self._value(self._integer(4))

    def _value(self, kind: int) -> Any:
        if kind == _TEXT:
            return self._text()
        if kind in _NUMBERS:
            dtype = np.dtype(_NUMBERS[kind])
            return np.frombuffer(self._take(dtype.itemsize), dtype)[0].item()
        if kind != _ARRAY:
            raise self._damaged(f"a member is of the unknown type {kind}")
        inner, count = self._integer(4), self._integer(8)
        if inner in _NUMBERS:
            dtype = np.dtype(_NUMBERS[inner])
            if count <= _KEPT_ENTRIES:
                return np.frombuffer(self._take(count * dtype.itemsize), dtype).tolist()
            self._skip(count * dtype.itemsize)
        elif inner == _TEXT:
            for _ in range(min(count, _HEADER_BYTES)):
                self._skip(self._integer(8))
        else:
            raise self._damaged("a member is an array of arrays")
        return f"{count} entries"

    def _tensor(self) -> tuple[str, int, tuple[int, ...], int]:
        name = self._text()
        if (count := self._integer(4)) > _MOST_SIDES:
            raise self._damaged(f"tensor {name!r} has {count} sides")
        sides = [self._integer(8) for _ in range(count)]
        return name, self._integer(4), tuple(reversed(sides)), self._integer(8)

    def _placed(
        self, start: int, name: str, kind: int, shape: tuple[int, ...], offset: int
    ) -> GgufTensor:
        dtype = _TYPES.get(kind) or _QUANTISED.get(kind, f"type {kind}")
        tensor = GgufTensor(name, dtype, shape, start + offset)
        nbytes = 0 if tensor.spec is None else tensor.spec.nbytes
        if tensor.start + nbytes > len(self.data):
            raise self._damaged(f"tensor {name!r} ends beyond the file: it is truncated")
        return tensor

    def _text(self) -> str:
        length = self._integer(8)
        if length > _KEPT_TEXT:
            self._skip(length)
            return f"{length} bytes"
        return self._take(length).decode("utf-8", "replace")

    def _integer(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _take(self, length: int) -> bytes:
        start = self._at
        self._skip(length)
        return self.data[start : start + length]

    def _skip(self, length: int) -> None:
        self._at += length
        if self._at > min(len(self.data), _HEADER_BYTES):
            raise self._damaged("its header ends beyond the file: it is truncated")

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{str(self._path)!r} is damaged ({what}); fetch it again")


@final
class GgufCheckpoint(Checkpoint):
    """The tensors of a GGUF file, under its own names.

    Attributes:
        metadata: see ``GgufFile``.
    """

    def __init__(self, path: Path, *, is_adapter: bool = False) -> None:
        """Read the header.

        Args:
            path: of the file.
            is_adapter: whether it shall be an adapter instead of a model.

        Raises:
            CheckpointError: as ``GgufFile``; or the file is quantised, or of another type.
        """
        file = GgufFile(path)
        self.metadata, self._data = file.metadata, file.data
        self._starts = {tensor.name: tensor.start for tensor in file.tensors}
        quantised = [tensor for tensor in file.tensors if tensor.spec is None]
        if quantised:
            raise CheckpointError(
                f"{str(path)!r} is quantised ({quantised[0].dtype}: tensor "
                f"{quantised[0].name!r} and {len(quantised) - 1} more), and its weights are no "
                "model's any more: give the model in f32, f16 or bf16"
            )
        wanted, kind = (
            "adapter" if is_adapter else "model", file.metadata.get("general.type", "model")
        )  # fmt: skip
        if kind != wanted:
            raise CheckpointError(
                f"{str(path)!r} is no {wanted} but of the type {kind!r}; give a {wanted}'s weights"
            )
        specs = {tensor.name: tensor.spec for tensor in file.tensors if tensor.spec is not None}
        super().__init__(str(path), specs, {})

    def _read(self, spec: TensorSpec) -> np.ndarray[Any, np.dtype[Any]]:
        start = self._starts[spec.name]
        flat = np.frombuffer(self._data, DTYPES[spec.dtype], spec.size, start)
        return flat.reshape(spec.shape)

    def _close(self) -> None:
        self._starts.clear()  # the map goes when no array looks at it
