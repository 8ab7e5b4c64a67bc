"""Compresses a fine-tune into the objects of one revision: one unit and one shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from tvbank.bank.ahead import all_cores
from tvbank.bank.documents import (
    CatalogEntry,
    ExtraRecord,
    ObjectRecord,
    Revision,
    decode_document,
    encode_document,
    record_of,
)
from tvbank.bank.encoder import Advance, Encoder
from tvbank.bank.extras import encode_extra
from tvbank.bank.pairs import BankPairs
from tvbank.bank.shard import build_shard
from tvbank.bank.spool import Spool
from tvbank.bank.zarr_documents import (
    DELTA,
    EXTRAS,
    MARKER,
    MAX_CHUNK_BYTES,
    chunk_bytes,
    delta_document,
    extra_document,
)
from tvbank.coding import read_header
from tvbank.compress import Compressor
from tvbank.errors import CheckpointError, UsageError
from tvbank.layout import Layout
from tvbank.vector import BaseModel, TaskVector

MAX_METADATA_BYTES = 2**20
MAX_METADATA_DEPTH = 32
MAX_INTEGER = 2**53


@dataclass(frozen=True)
class Prepared:
    """A revision that is complete but not published: its entry for the catalog, its objects."""

    entry: CatalogEntry
    document: bytes
    objects: Spool


def prepare(
    layout: Layout,
    layout_sha256: str,
    base: BaseModel,
    vector: TaskVector,
    compressor: Compressor,
    metadata: Mapping[str, Any],
    spool: Spool,
    advance: Advance,
) -> Prepared:
    """Compress every unit and lay the revision's objects into the spool.

    Args:
        layout: of the base.
        layout_sha256: digest of the layout document.
        base: the base's weights, checked while they are read.
        vector: the fine-tune.
        compressor: what to keep.
        metadata: the user's own JSON.
        spool: receives the objects; keys are relative to the revision.
        advance: called with bytes of the fine-tune done.

    Raises:
        BaseMismatchError: the base has other weights than the bank's.
        NonFiniteError: the compressor is lossy and met NaN or infinity.
        CheckpointError: a unit to keep whole is too large for that.
        UsageError: the metadata is not JSON or too large.
    """
    metadata = check_metadata(metadata)
    objects: dict[str, ObjectRecord] = {}

    def keep(key: str, data: bytes) -> None:
        objects[key] = record_of(data)
        spool.add(key, data)

    def revise(shards: Iterable[ObjectRecord | None], nonzeros: int) -> bytes:
        revision = Revision(
            layout=layout_sha256,
            element=compressor.element,
            shards=tuple(shards),
            nonzeros=nonzeros,
            objects=objects,
            extras=extras,
            compressor=compressor.describe(),
            metadata=metadata,
        )
        return encode_document(revision)

    keep(DELTA, delta_document(layout, compressor.element))
    extras = _keep_extras(vector, keep, advance)
    parameters = sum(unit.size for unit in vector.units) + sum(extra.size for extra in extras)
    shards: list[ObjectRecord | None] = []
    nonzeros = 0
    with all_cores() as pool:
        every = [ObjectRecord(layout.shard_length, layout_sha256)] * layout.shard_count
        fixed = len(revise(every, layout.length)) + sum(each.size for each in objects.values())
        compressor = compressor.plan(
            BankPairs(layout, base, vector, pool, fixed_bytes=fixed, parameters=parameters)
        )
        frames = Encoder(layout, base, vector, compressor, pool).frames(advance)
        for number, (shard, count) in enumerate(_shards(layout, frames)):
            nonzeros += count
            shards.append(None if shard is None else record_of(shard))
            if shard is not None:
                spool.add(f"delta/c/{number}", shard)
    document = revise(shards, nonzeros)
    decode_document(document, Revision, "zarr.json")  # never publish what cannot be read back
    named = record_of(document)
    stored = [record for record in (*shards, *objects.values()) if record is not None]
    entry = CatalogEntry(
        revision=named.sha256,
        size=named.size,
        element=compressor.element,
        shards=tuple(shards),
        nonzeros=nonzeros,
        parameters=parameters,
        replaced=tuple(extra.name for extra in extras if extra.name in layout.by_name),
        stored_bytes=named.size + sum(record.size for record in stored),
        compressor=compressor.describe(),
    )
    return Prepared(entry, document, spool)


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as an object of JSON, if they are one.

    Raises:
        UsageError: says what is wrong.
    """
    if not isinstance(metadata, Mapping):
        raise UsageError("the metadata must be an object: names and JSON values")
    given = dict(metadata)
    try:
        text = msgspec.json.encode(given)
        same = msgspec.json.decode(text) == given  # NaN, tuples and the like do not come back
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"the metadata is not JSON: {error}") from error
    if not same:
        raise UsageError("the metadata must be an object of JSON values with string keys")
    if len(text) > MAX_METADATA_BYTES:
        raise UsageError(f"the metadata has more than {MAX_METADATA_BYTES} bytes")
    if _depth(given) > MAX_METADATA_DEPTH:
        raise UsageError(f"the metadata is nested deeper than {MAX_METADATA_DEPTH}")
    if _largest(given) > MAX_INTEGER:
        raise UsageError("the metadata holds an integer beyond 2**53: write it as a text")
    return given


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inner), default=0)
    return 0


def _largest(value: Any) -> int:
    """The largest absolute value of an integer."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return max(map(_largest, inner), default=0)
    return abs(value) if isinstance(value, int) else 0


def _shards(
    layout: Layout, frames: Iterable[tuple[int, bytes]]
) -> Iterator[tuple[bytes | None, int]]:
    """Every shard of the layout in order, with its number of non-zeros."""
    kept: list[tuple[int, bytes]] = []
    number, nonzeros = 0, 0
    for chunk, frame in frames:
        while chunk >= (number + 1) * layout.chunks_per_shard:
            yield build_shard(layout.chunks_per_shard, kept), nonzeros
            kept, nonzeros, number = [], 0, number + 1
        if count := read_header(frame).nonzeros:
            kept.append((chunk - number * layout.chunks_per_shard, frame))
            nonzeros += count
    while number < layout.shard_count:
        yield build_shard(layout.chunks_per_shard, kept), nonzeros
        kept, nonzeros, number = [], 0, number + 1


def _keep_extras(
    vector: TaskVector, keep: Callable[[str, bytes], None], advance: Advance
) -> tuple[ExtraRecord, ...]:
    records: list[ExtraRecord] = []
    for name in vector.whole:
        spec = vector.spec(name)
        record = ExtraRecord(name, spec.dtype, spec.shape)
        if chunk_bytes(record) > MAX_CHUNK_BYTES:
            raise CheckpointError(
                f"{vector.source}: unit {name!r} would be kept whole, but has rows of 2 GiB or more"
            )
        folder = f"extras/{len(records)}"
        if not records:
            keep(EXTRAS, MARKER)
        keep(f"{folder}/zarr.json", extra_document(record))
        for key, data in encode_extra(record, vector.read(name)):
            keep(f"{folder}/{key}", data)
        records.append(record)
        advance(spec.nbytes)
    return tuple(records)
