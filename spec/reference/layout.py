"""The layout document: where each unit of the base lies (container.md, "The layout document")."""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

from .invalid import require
from .json_text import Object, checked_integer, group_attributes
from .names import check_unit_name

#: Element type -> bytes of one element.
DTYPE_BYTES = {
    "bool": 1, "int8": 1, "uint8": 1, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "int16": 2, "uint16": 2, "float16": 2, "bfloat16": 2,
    "int32": 4, "uint32": 4, "float32": 4,
    "int64": 8, "uint64": 8, "float64": 8, "complex64": 8,
}  # fmt: skip
UNIT_DTYPES = ("float32", "float16", "bfloat16")
WHOLE_DTYPES = tuple(dtype for dtype in DTYPE_BYTES if dtype not in UNIT_DTYPES)
MAX_LENGTH = 2**48
MAX_UNITS = 2**20
MAX_DIMENSIONS = 32
MAX_CHUNK_LENGTH = 2**24
MAX_CHUNKS_PER_SHARD = 2**16


class Tensor(NamedTuple):
    """A unit, a whole unit or an extra; ``offset`` is -1 outside the address space."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    sha256: str = ""
    offset: int = -1

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def chunks(self, chunk_length: int) -> range:
        """Numbers of the chunks that the unit takes."""
        first = self.offset // chunk_length
        return range(first, first + -(-self.size // chunk_length))


class Layout(NamedTuple):
    """The address space of the base."""

    sha256: str
    chunk_length: int
    shard_length: int
    length: int
    units: dict[str, Tensor]
    whole: dict[str, Tensor]
    tied: dict[str, str]

    @property
    def shards(self) -> int:
        """Shards of a task, those of zeros included."""
        return -(-self.length // self.shard_length)

    @property
    def chunks_per_shard(self) -> int:
        """Chunks of every shard, the last one included."""
        return self.shard_length // self.chunk_length


def read_layout(data: bytes) -> Layout:
    """Check and read the layout document.

    Raises:
        Invalid: ``limit``, ``document-syntax``, ``name`` or ``layout``.
    """
    body = group_attributes(data, "base/zarr.json")
    units = [_unit(unit) for unit in body.array("units", MAX_UNITS)]
    whole = [_whole(unit) for unit in body.array("whole", MAX_UNITS)]
    tied = {alias: body.object("tied").text(alias) for alias in body.object("tied").value}
    layout = Layout(
        hashlib.sha256(data).hexdigest(),
        body.integer("chunk_length", 1, MAX_CHUNK_LENGTH),
        body.integer("shard_length", 1, MAX_CHUNK_LENGTH * MAX_CHUNKS_PER_SHARD),
        body.integer("length", 0, MAX_LENGTH),
        {unit.name: unit for unit in units},
        {unit.name: unit for unit in whole},
        tied,
    )
    names = [tensor.name for tensor in (*units, *whole)]
    for name in (*names, *tied):
        check_unit_name(name)
    per_shard = layout.chunks_per_shard
    require(per_shard <= MAX_CHUNKS_PER_SHARD, "limit", f"{per_shard} chunks in a shard")
    require_layout(layout.shard_length % layout.chunk_length == 0, "shards cut chunks in two")
    require_layout(len({*names, *tied}) == len(names) + len(tied), "a name stands twice")
    require_layout(set(tied.values()) <= set(names), "an alias of a unit that is not there")
    offset = 0
    for unit in units:
        require_layout(unit.offset == offset, f"unit {unit.name!r} does not start at {offset}")
        offset += -(-unit.size // layout.chunk_length) * layout.chunk_length
    require_layout(offset == layout.length, f"the units end at {offset}, not {layout.length}")
    return layout


def require_layout(condition: bool, message: str) -> None:
    """Raise ``layout`` unless the condition holds."""
    require(condition, "layout", message)


def tensor(record: Object, dtypes: tuple[str, ...]) -> Tensor:
    """The members that units and extras have in common."""
    listed = record.array("shape", MAX_DIMENSIONS)
    shape = tuple(checked_integer(side, 0, MAX_LENGTH, "a side of a shape") for side in listed)
    elements = math.prod(side for side in shape if side)
    require(elements <= MAX_LENGTH, "limit", f"{record['name']!r} has {elements} elements")
    return Tensor(record.text("name"), record.text("dtype", "|".join(dtypes)), shape)


def _unit(value: Any) -> Tensor:
    record = Object(value, "a unit")
    offset = record.integer("offset", 0, MAX_LENGTH)
    return tensor(record, UNIT_DTYPES)._replace(sha256=record.digest("sha256"), offset=offset)


def _whole(value: Any) -> Tensor:
    record = Object(value, "a whole unit")
    return tensor(record, WHOLE_DTYPES)._replace(sha256=record.digest("sha256"))
