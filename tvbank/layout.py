"""The address space of a base model: where each unit lies, and the fingerprint it must have.

All units (parameter tensors) are laid end to end in one vector, each starting on a chunk
boundary, so that a task is one array and a unit is a range of it (spec/container.md, "Layout").
"""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from tvbank.checkpoint import Checkpoint, TensorSpec
from tvbank.dtypes import DTYPES, UNIT_DTYPES, WHOLE_DTYPES
from tvbank.errors import CheckpointError, FormatError

DEFAULT_CHUNK_LENGTH = 2**18
MAX_CHUNK_LENGTH = 2**24
MAX_CHUNKS_PER_SHARD = 65_536
MAX_LENGTH = 2**48
MAX_UNITS = 2**20
MAX_UNIT_NAME_BYTES = 1024
MAX_DIMENSIONS = 32

#: Bytes of tensors that are requested together.
_TOGETHER = 2**25

#: Chunks that the writer aims to put into one shard: 2**26 entries at the default chunk length.
_TARGET_CHUNKS_PER_SHARD = 256

Dtype = Annotated[str, Meta(pattern=rf"^({'|'.join(DTYPES)})\Z")]
UnitDtype = Annotated[str, Meta(pattern=rf"^({'|'.join(UNIT_DTYPES)})\Z")]
WholeDtype = Annotated[str, Meta(pattern=rf"^({'|'.join(WHOLE_DTYPES)})\Z")]
Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64)]
UnitName = str  # ``check_unit_name`` checks names: theirs is another fault than the syntax's
Size = Annotated[int, Meta(ge=0, le=MAX_LENGTH)]
Shape = Annotated[tuple[Size, ...], Meta(max_length=MAX_DIMENSIONS)]


class UnitRecord(msgspec.Struct, frozen=True):
    """One unit of the base that lives in the address space.

    ``offset`` is in elements; ``sha256`` is of the raw little-endian bytes.
    """

    name: UnitName
    dtype: UnitDtype
    shape: Shape
    offset: Size
    sha256: Digest

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


class WholeRecord(msgspec.Struct, frozen=True):
    """A unit of the base that has no deltas (integers, booleans, float64, float8)."""

    name: UnitName
    dtype: WholeDtype
    shape: Shape
    sha256: Digest


class Layout(msgspec.Struct, frozen=True, dict=True):
    """Maps the names of a base's units to shape, dtype, offset and digest."""

    chunk_length: Annotated[int, Meta(ge=1, le=MAX_CHUNK_LENGTH)]
    shard_length: Annotated[int, Meta(ge=1, le=MAX_CHUNK_LENGTH * MAX_CHUNKS_PER_SHARD)]
    length: Size
    units: Annotated[tuple[UnitRecord, ...], Meta(max_length=MAX_UNITS)]
    whole: Annotated[tuple[WholeRecord, ...], Meta(max_length=MAX_UNITS)]
    tied: dict[UnitName, UnitName]

    @cached_property
    def document(self) -> bytes:
        """The layout document: the bytes that the layout was read from, else those it would have.

        The document of a later minor version may say more than this version knows.
        """
        return encode_document(self)

    @cached_property
    def sha256(self) -> str:
        """Digest of the layout document, by which tasks and routers name their layout."""
        return hashlib.sha256(self.document).hexdigest()

    @cached_property
    def by_name(self) -> dict[str, UnitRecord]:
        """The units in the address space, by name."""
        return {unit.name: unit for unit in self.units}

    @cached_property
    def whole_by_name(self) -> dict[str, WholeRecord]:
        """The units without deltas, by name."""
        return {record.name: record for record in self.whole}

    @cached_property
    def aliases(self) -> dict[str, list[str]]:
        """Further names of tied units, by their owner."""
        aliases: dict[str, list[str]] = {}
        for alias, owner in self.tied.items():
            aliases.setdefault(owner, []).append(alias)
        return aliases

    @property
    def records(self) -> tuple[UnitRecord | WholeRecord, ...]:
        """All units of the base: those in the address space, then those without deltas."""
        return (*self.units, *self.whole)

    @property
    def chunks_per_shard(self) -> int:
        """Inner chunks of one shard."""
        return self.shard_length // self.chunk_length

    @property
    def shard_count(self) -> int:
        """Shards of a task's delta, absent ones included."""
        return -(-self.length // self.shard_length)

    @property
    def parameters(self) -> int:
        """Entries of all units in the address space, without the padding between them."""
        return sum(unit.size for unit in self.units)

    @property
    def unit_bytes(self) -> int:
        """Bytes of the base's units in their own element types."""
        return sum(unit.size * DTYPES[unit.dtype].itemsize for unit in self.units)

    def chunks(self, unit: UnitRecord) -> range:
        """Numbers of the chunks that a unit occupies."""
        first = unit.offset // self.chunk_length
        return range(first, first + -(-unit.size // self.chunk_length))

    def check(self) -> None:
        """Verify what a schema cannot say (spec/container.md, "Layout").

        Raises:
            FormatError: ``layout`` for offsets, lengths, names or ties that contradict each other.
        """
        if self.shard_length % self.chunk_length:
            raise FormatError("layout", "the layout's shard length is no multiple of its chunks")
        if self.chunks_per_shard > MAX_CHUNKS_PER_SHARD:
            raise FormatError("limit", f"a shard has more than {MAX_CHUNKS_PER_SHARD} chunks")
        for record in self.records:
            check_shape(record.name, record.shape)
        offset = 0
        for unit in self.units:
            if unit.offset != offset:
                raise FormatError(
                    "layout", f"unit {unit.name!r} starts at {unit.offset}, expected {offset}"
                )
            offset += -(-unit.size // self.chunk_length) * self.chunk_length
        if offset != self.length:
            raise FormatError("layout", f"the units end at {offset}, the layout at {self.length}")
        names = [record.name for record in self.records] + list(self.tied)
        for name in names:
            check_unit_name(name)
        if len(set(names)) != len(names):
            raise FormatError("layout", "a unit's name stands twice in the layout")
        owners = {*self.by_name, *self.whole_by_name}
        for alias, owner in self.tied.items():
            if owner not in owners:
                raise FormatError("layout", f"{alias!r} is tied to the unknown unit {owner!r}")


def encode_document(body: msgspec.Struct) -> bytes:
    """A group document with a struct as its ``tvbank`` attributes: same content, same bytes."""
    document = {"attributes": {"tvbank": body}, "node_type": "group", "zarr_format": 3}
    return msgspec.json.encode(document, order="deterministic")


def check_unit_name(name: str) -> None:
    """Refuse names that the format does not allow.

    Raises:
        FormatError: ``name``.
    """
    size = len(name.encode("utf-8", "surrogatepass"))
    forbidden = any(unicodedata.category(character) in ("Cc", "Cs") for character in name)
    if not 0 < size <= MAX_UNIT_NAME_BYTES or forbidden:
        raise FormatError(
            "name",
            f"unit name {name[:80]!r}: 1 to {MAX_UNIT_NAME_BYTES} bytes of UTF-8, no control codes",
        )


def check_shape(name: str, shape: tuple[int, ...]) -> None:
    """Refuse shapes that no array can have; sides of 0 do not excuse the others.

    Raises:
        FormatError: ``limit``.
    """
    if len(shape) > MAX_DIMENSIONS or math.prod(side for side in shape if side) > MAX_LENGTH:
        raise FormatError(
            "limit",
            f"unit {name[:80]!r} has more than {MAX_DIMENSIONS} dimensions or 2**48 entries",
        )


def check_storable(source: str, spec: TensorSpec) -> None:
    """Refuse a checkpoint's tensor that the format cannot describe.

    Raises:
        CheckpointError: names the checkpoint and the tensor.
    """
    try:
        check_unit_name(spec.name)
        check_shape(spec.name, spec.shape)
    except FormatError as error:
        raise CheckpointError(f"{source}: {error}") from error


#: Gives the fingerprint of each of some arrays.
Hashes = Callable[[Iterable[NDArray[np.generic]]], Iterable[str]]


def fingerprint(array: NDArray[np.generic]) -> str:
    """SHA-256, in hexadecimal, of an array's raw little-endian bytes in C order."""
    return hashlib.sha256(raw_bytes(array)).hexdigest()


def raw_bytes(array: NDArray[np.generic]) -> memoryview:
    """The bytes of a C-contiguous little-endian array, without a copy; any shape and dtype."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def build_layout(
    base: Checkpoint,
    chunk_length: int = DEFAULT_CHUNK_LENGTH,
    advance: Callable[[int], object] = lambda _bytes: None,
    hashes: Hashes | None = None,
) -> Layout:
    """Read a base once and lay its units out.

    Args:
        base: the checkpoint; read unit by unit.
        chunk_length: entries of one inner chunk.
        advance: called with the number of bytes after each unit, for progress bars.
        hashes: hashes arrays one after the other, on threads maybe.

    Raises:
        CheckpointError: a name or a shape is not allowed, or the base has no units at all.
    """
    units: list[UnitRecord] = []
    whole: list[WholeRecord] = []
    offset = 0
    for spec, sha256 in _fingerprints(base, advance, hashes or partial(map, fingerprint)):
        if spec.dtype in UNIT_DTYPES:
            unit = UnitRecord(spec.name, spec.dtype, spec.shape, offset, sha256)
            units.append(unit)
            offset += -(-unit.size // chunk_length) * chunk_length
        else:
            whole.append(WholeRecord(spec.name, spec.dtype, spec.shape, sha256))
    if not units and not whole:
        raise CheckpointError(f"{base.source} has no tensors; nothing could be fine-tuned from it")
    layout = Layout(
        chunk_length, _shard_length(offset, chunk_length), offset, tuple(units), tuple(whole),
        dict(sorted(base.tied.items())),
    )  # fmt: skip
    layout.check()
    return layout


def _fingerprints(
    base: Checkpoint, advance: Callable[[int], object], hashes: Hashes
) -> Iterable[tuple[TensorSpec, str]]:
    aliases = [replace(base.tensors[owner], name=alias) for alias, owner in base.tied.items()]
    for spec in (*base.tensors.values(), *aliases):
        check_storable(base.source, spec)
    for spec, sha256 in zip(base.tensors.values(), hashes(_arrays(base)), strict=True):
        yield spec, sha256
        advance(spec.nbytes)


def _arrays(base: Checkpoint) -> Iterator[NDArray[np.generic]]:
    expected = 0
    names = list(base.tensors)
    for number, name in enumerate(names):
        if number == expected:  # those that come over a network come together
            expected = _stop_of_group(base, names, number)
            base.expect(names[number:expected])
        yield base.read(name)


def _stop_of_group(base: Checkpoint, names: list[str], start: int) -> int:
    """The end of a group of tensors: one, and those after it while all have at most 32 MiB."""
    left, stop = _TOGETHER - base.tensors[names[start]].nbytes, start + 1
    while stop < len(names) and left >= base.tensors[names[stop]].nbytes:
        left -= base.tensors[names[stop]].nbytes
        stop += 1
    return stop


def _shard_length(length: int, chunk_length: int) -> int:
    """Shards of equal length, none of more than the target number of chunks."""
    chunks = max(1, length // chunk_length)
    shards = -(-chunks // _TARGET_CHUNKS_PER_SHARD)
    return -(-chunks // shards) * chunk_length
