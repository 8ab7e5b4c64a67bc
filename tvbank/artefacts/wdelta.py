"""``.wdelta`` files of deltatensors 0.2: sparse, one bit, or four bits with outliers.

``wdelta``, a zero byte, version 1 and the header's length as u32, JSON; then for each array name,
field and dtype, each after its length as u32, number of sides as u32, sides and bytes as u64, and
the data; SHA-256 of all before at the end. Everything is little-endian.

The sum is that of the library, in float32; it leaves the fine-tune in float32, and here it is
rounded once to the base's element type.
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from tvbank._json import MAX_JSON_BYTES, parse_json
from tvbank.artefacts._artefact import (
    Artefact,
    Change,
    Delta,
    Stored,
    add_in_float32,
    base_shape,
    check_size,
)
from tvbank.artefacts._contents import Contents, read_json
from tvbank.artefacts._given import Given
from tvbank.checkpoint import Checkpoint, unreadable
from tvbank.errors import BaseMismatchError, CheckpointError
from tvbank.layout import raw_bytes

_MAGIC, _VERSION = b"wdelta\0", 1
_HEADER = len(_MAGIC) + 8
_DIGEST_BYTES = 32
_MOST_SIDES = 32

#: Arrays of each strategy, and their element types.
_FIELDS = {
    "sparse": {"indices": "int64", "values": "float32"},
    "quantized": {"scales": "float16", "packed_signs": "uint8"},
    "int4": {
        "outlier_idx": "int64", "outlier_vals": "float16", "scale": "float16",
        "zero_point": "float16", "packed": "uint8",
    },
}  # fmt: skip


@final
@dataclass(frozen=True)
class _Array:
    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@final
class Wdelta(Artefact):
    """A ``.wdelta`` file, mapped into memory."""

    kind: ClassVar[str] = "deltatensors"
    title: ClassVar[str] = "a .wdelta file of deltatensors"
    takes: ClassVar[Mapping[str, str]] = {
        "before": "the version that it was made from, if that is not the bank's base"
    }

    def __init__(self, path: Path) -> None:
        """Read the header and where each array lies, and check the digest.

        Raises:
            CheckpointError: truncated, damaged, or of another version.
        """
        self.source, self.files = str(path), [path]
        try:
            with open(path, "rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise unreadable(path, error) from error
        self._end = len(self._data) - _DIGEST_BYTES
        if self._end < _HEADER:
            raise self._damaged("it is truncated")
        with memoryview(self._data) as view:
            if hashlib.sha256(view[: self._end]).digest() != view[self._end :]:
                raise self._damaged("its digest is another than it states")
        version, length = np.frombuffer(self._data, "<u4", 2, len(_MAGIC)).tolist()
        if version != _VERSION:
            raise CheckpointError(
                f"{self.source} is of version {version} of .wdelta, and 1 is what can be read; "
                "write it again with deltatensors 0.2"
            )
        if length > min(MAX_JSON_BYTES, self._end - _HEADER):
            raise self._damaged("its header is longer than the file")
        try:
            header = parse_json(self._data[_HEADER : _HEADER + length])
        except ValueError as error:
            raise self._damaged(f"its header is no JSON ({error})") from error
        self._tensors = self._checked(header)
        self._parent = header.get("parent_hash")
        self._arrays = self._find_arrays(_HEADER + length)

    @staticmethod
    def recognise(contents: Contents) -> Wdelta | None:
        """A file that begins as one."""
        return Wdelta(contents.path) if contents.kind == "wdelta" else None

    def stored(self) -> Sequence[Stored]:
        """See ``Artefact.stored``."""
        rows = []
        for name, entry in self._tensors.items():
            parts = [self._array(name, field) for field in _FIELDS[entry["strategy"]]]
            size = sum(part.size * np.dtype(part.dtype).itemsize for part in parts)
            rows.append(Stored(name, entry["strategy"], tuple(entry["shape"]), size, "delta"))
        return rows

    def notes(self) -> Mapping[str, Any]:
        """See ``Artefact.notes``."""
        return {"base_sha256": self._parent}

    def changes(self, base: Checkpoint, given: Given) -> Mapping[str, Change]:
        """See ``Artefact.changes``; the base is read once, for the digest of what it must be."""
        changes: dict[str, Change] = {}
        for name, entry in self._tensors.items():
            shape = base_shape(self.source, base, name)
            check_size(self.source, name, "shape", tuple(entry["shape"]), shape)
            self._check(name, entry, math.prod(shape))
            changes[name] = Delta(partial(self._add, name))
        if not any(_digest(base, order) == self._parent for order in _orders(base)):
            raise BaseMismatchError(
                f"{self.source} was made from other weights than those of {base.source}: their "
                f"digest is {str(self._parent)[:12]}…; give the base that it was made from, or, "
                "if it was made from a later version, that one as before=… (--given before=…)"
            )
        return changes

    def _add(self, name: str, base: NDArray[Any]) -> NDArray[Any]:
        decode: dict[str, Callable[[str, int], NDArray[np.float32]]] = {
            "sparse": self._sparse, "quantized": self._quantized, "int4": self._int4,
        }  # fmt: skip
        flat = decode[self._tensors[name]["strategy"]](name, base.size)
        return add_in_float32(base, flat.reshape(base.shape))

    def _sparse(self, name: str, size: int) -> NDArray[np.float32]:
        flat = np.zeros(size, np.float32)
        flat[self._indices(name, "indices", size)] = self._read(name, "values")
        return flat

    def _quantized(self, name: str, size: int) -> NDArray[np.float32]:
        columns = self._tensors[name]["n_cols"]
        bits = np.unpackbits(self._read(name, "packed_signs"), count=size)
        matrix = np.where(bits.reshape(-1, columns) == 0, np.float32(-1), np.float32(1))
        return matrix * self._read(name, "scales").astype(np.float32)[:, None]

    def _int4(self, name: str, size: int) -> NDArray[np.float32]:
        places = self._indices(name, "outlier_idx", size)
        rest = np.ones(size, bool)
        rest[places] = False
        if len(places) + np.count_nonzero(rest) != size:
            raise self._damaged(f"an outlier of tensor {name!r} is there twice")
        packed = self._read(name, "packed")
        codes = np.empty(2 * len(packed), np.uint8)
        codes[0::2], codes[1::2] = packed >> 4, packed & 15
        scale, zero = (float(self._read(name, field)[0]) for field in ("scale", "zero_point"))
        flat = np.empty(size, np.float32)
        quantized = codes[: size - len(places)].astype(np.float32)
        flat[rest] = quantized / np.float32(15) * np.float32(scale * 15.0) + np.float32(zero)
        flat[places] = self._read(name, "outlier_vals").astype(np.float32)
        return flat

    def _indices(self, name: str, field: str, size: int) -> NDArray[np.int64]:
        places: NDArray[np.int64] = self._read(name, field)
        if len(places) and (places.min() < 0 or places.max() >= size):
            raise self._damaged(f"an index of tensor {name!r} lies outside of it")
        return places

    def _read(self, name: str, field: str) -> NDArray[Any]:
        array = self._array(name, field)
        return np.frombuffer(self._data, array.dtype, array.size, array.start)

    def _array(self, name: str, field: str) -> _Array:
        try:
            return self._arrays[name, field]
        except KeyError:
            raise self._damaged(f"it lacks the {field} of tensor {name!r}") from None

    def _check(self, name: str, entry: Mapping[str, Any], size: int) -> None:
        """Compare the lengths of a tensor's arrays with what it needs."""
        lengths = {field: self._array(name, field).size for field in _FIELDS[entry["strategy"]]}
        if entry["strategy"] == "sparse":
            wanted = {"indices": lengths["values"]}
        elif entry["strategy"] == "quantized":
            columns = entry.get("n_cols")
            if type(columns) is not int or columns < 1 or size % columns:
                raise self._damaged(f"tensor {name!r} has {size} entries and rows of {columns!r}")
            wanted = {"scales": size // columns, "packed_signs": -(-size // 8)}
        else:
            outliers = lengths["outlier_idx"]
            wanted = {
                "outlier_vals": outliers, "scale": 1, "zero_point": 1,
                "packed": -(-(size - outliers) // 2),
            }  # fmt: skip
        for field, length in wanted.items():
            check_size(self.source, name, f"length of the {field}", lengths[field], length)

    def _checked(self, header: Any) -> dict[str, dict[str, Any]]:
        tensors = header.get("tensors") if isinstance(header, dict) else None
        if not isinstance(tensors, dict):
            raise self._damaged("its header names no tensors")
        for name, entry in tensors.items():
            shape = entry.get("shape") if isinstance(entry, dict) else None
            if (
                not isinstance(shape, list)
                or len(shape) > _MOST_SIDES
                or not all(type(side) is int and side >= 0 for side in shape)
                or entry.get("strategy") not in _FIELDS
            ):
                raise self._damaged(f"its header does not say what tensor {name!r} is")
        return tensors

    def _find_arrays(self, at: int) -> dict[tuple[str, str], _Array]:
        """Where each array lies, by tensor and field; nothing of the data is read."""
        found: dict[tuple[str, str], _Array] = {}
        while at < self._end:
            texts = []
            for _ in range(3):
                length, at = self._number(at, 4)
                texts.append(self._take(at, length))
                at += length
            count, at = self._number(at, 4)
            if count > _MOST_SIDES:
                raise self._damaged(f"an array has {count} sides")
            sides = []
            for _ in range(count):
                side, at = self._number(at, 8)
                sides.append(side)
            stated, at = self._number(at, 8)
            name, field, dtype = (text.decode("utf-8", "replace") for text in texts)
            strategy = str(self._tensors.get(name, {}).get("strategy"))
            if _FIELDS.get(strategy, {}).get(field) != dtype or (name, field) in found:
                raise self._damaged(f"it holds an array {field!r} of tensor {name!r} too many")
            array = _Array(np.dtype(dtype).newbyteorder("<").str, tuple(sides), at)
            if stated != array.size * np.dtype(dtype).itemsize or stated > self._end - at:
                raise self._damaged(f"the {field} of tensor {name!r} have {stated} bytes")
            found[name, field] = array
            at += stated
        return found

    def _number(self, at: int, width: int) -> tuple[int, int]:
        return int.from_bytes(self._take(at, width), "little"), at + width

    def _take(self, at: int, length: int) -> bytes:
        if length > self._end - at:
            raise self._damaged("an array ends beyond the file")
        return self._data[at : at + length]

    def _damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.source!r} is damaged ({what}); fetch it again")


def _orders(base: Checkpoint) -> Iterable[list[str]]:
    """The orders in which the library digests a base: by name, or shard after shard."""
    names = sorted(base.tensors)
    yield names
    if base.tied:
        yield sorted([*base.tensors, *base.tied])
    if base.source.lower().endswith(".index.json") and Path(base.source).is_file():
        placed = read_json(Path(base.source)).get("weight_map", {})
        shards = list(dict.fromkeys(placed.get(name) for name in names))
        if len(shards) > 1:
            yield [name for shard in shards for name in names if placed.get(name) == shard]


def _digest(base: Checkpoint, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode())
        digest.update(raw_bytes(base.read(name)))
    return digest.hexdigest()
