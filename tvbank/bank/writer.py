"""Compresses a fine-tune into the objects of one revision: one unit and one shard at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import IO, final

from tvbank.bank.chains import CHAINS, ParentRecord
from tvbank.bank.documents import (
    JSON,
    CatalogEntry,
    Element,
    ExtraRecord,
    ObjectRecord,
    Revision,
    decode_document,
    documents_first,
    encode_document,
    record_of,
)
from tvbank.bank.encoder import BankPairs, Draft, Encoder
from tvbank.bank.extras import encode_extra
from tvbank.bank.product_records import (
    FEATURE,
    PACKED,
    PACKED_FEATURE,
    PRODUCTS,
    PRODUCTS_CHUNK,
    ProductRecord,
    packed_record,
    record_bytes,
)
from tvbank.bank.products import Product, encode_products
from tvbank.bank.proved import recorded_state
from tvbank.bank.shard import build_shard
from tvbank.bank.zarr_documents import (
    DELTA,
    EXTRAS,
    MARKER,
    MAX_CHUNK_BYTES,
    chunk_bytes,
    delta_document,
    extra_document,
    products_document,
)
from tvbank.coding import read_header
from tvbank.compress.protocol import PackedProduct
from tvbank.errors import CheckpointError, StorageError
from tvbank.layout import Layout, UnitRecord
from tvbank.vector import FineTune


@dataclass(frozen=True)
class Prepared:
    """A revision that is complete but not published: its entry for the catalog, its objects."""

    entry: CatalogEntry
    document: bytes
    objects: Spool


def prepare(draft: Draft, spool: Spool) -> Prepared:
    """Compress every unit of a draft and lay the revision's objects into a spool.

    Args:
        draft: what is being written.
        spool: receives the objects; keys are relative to the revision.

    Raises:
        BaseMismatchError: the base has other weights than the bank's.
        NonFiniteError: the compressor is lossy and met NaN or infinity.
        CheckpointError: a unit to keep whole is too large for that.
    """
    compressor, vector = draft.compressor, draft.vector
    writer = RevisionWriter(draft.layout, compressor.element, spool, draft.parent)
    for name in vector.whole:
        record, chunks = encode_whole(vector.fine_tune, name)
        writer.keep_whole(record, chunks)
        draft.counter.advance(vector.fine_tune.spec(name).nbytes)
    covered = sum(unit.size for unit in vector.units)
    pairs = BankPairs(
        draft,
        fixed_bytes=writer.fixed_bytes(compressor.describe(), draft.metadata),
        parameters=writer.parameters(covered),
        products_bytes=writer.products_bytes(compressor.describe(), draft.metadata),
    )
    chosen = replace(draft, compressor=compressor.plan(pairs))
    if products := chosen.compressor.packed_products:
        units = (draft.layout.by_name[name] for name in products)
        writer.keep_products([_unpacked(unit, products[unit.name]) for unit in units], {})
    encoder = Encoder(chosen)
    how = chosen.compressor.describe()
    return writer.finish(encoder.frames(), covered, how, draft.metadata, state=encoder.state)


@final
class RevisionWriter:
    """Lays the objects of one revision into a spool: documents and extras, then the shards.

    Attributes:
        extras: the tensors that have been kept whole so far.
    """

    def __init__(
        self, layout: Layout, element: Element, spool: Spool, parent: ParentRecord | None = None
    ) -> None:
        self._layout, self._element, self._spool = layout, element, spool
        self._parent = parent
        self._objects: dict[str, ObjectRecord] = {}
        self.extras: tuple[ExtraRecord, ...] = ()
        self._products: tuple[ProductRecord, ...] = ()
        self._adapter: JSON = {}
        self._keep(DELTA, delta_document(layout, element))

    def keep_whole(self, record: ExtraRecord, chunks: Iterable[tuple[str, bytes]]) -> None:
        """Add an extra.

        Args:
            record: name, dtype and shape.
            chunks: as ``encode_extra`` makes them.
        """
        folder = f"extras/{len(self.extras)}"
        if not self.extras:
            self._keep(EXTRAS, MARKER)
        self._keep(f"{folder}/zarr.json", extra_document(record))
        for key, data in chunks:
            self._keep(f"{folder}/{key}", data)
        self.extras = (*self.extras, record)

    def keep_products(self, products: Sequence[Product], adapter: JSON) -> None:
        """Add the products of the task, all at once.

        Args:
            products: of units of the layout that have no frames and are not kept whole.
            adapter: what they were made from, so that it can be written out again.
        """
        self._products, data = encode_products(self._layout, products)
        self._adapter = adapter
        self._keep(PRODUCTS, products_document(len(data)))
        self._keep(PRODUCTS_CHUNK, data)

    def parameters(self, covered: int) -> int:
        """Entries that the task covers: those of its units (``covered``) and of its extras."""
        return covered + sum(extra.size for extra in self.extras)

    def fixed_bytes(self, compressor: JSON, metadata: JSON) -> int:
        """Bytes of the revision's documents and extras, if every shard is full."""
        every = [ObjectRecord(self._layout.shard_length, self._layout.sha256)]
        document = self._document(
            every * self._layout.shard_count, self._layout.length, compressor, metadata
        )
        return len(document) + sum(record.size for record in self._objects.values())

    def products_bytes(self, compressor: JSON, metadata: JSON) -> int:
        """Bytes that products add, beside their factors and records."""
        if not self._layout.units:
            return 0
        one = packed_record(self._layout.units[0].name, PackedProduct(bytes(2**20), 1))
        added = self.bytes_with([one], {}, compressor, metadata)
        size = added - self.bytes_with([], {}, compressor, metadata)
        return size - one.nbytes(self._layout.units[0].shape) - record_bytes(one)

    def bytes_with(
        self, products: Sequence[ProductRecord], adapter: JSON, compressor: JSON, metadata: JSON
    ) -> int:
        """Bytes of the revision with such products beside what it has, and without entries."""
        objects = dict(self._objects)
        if products:
            by_name = self._layout.by_name
            size = sum(each.nbytes(by_name[each.unit].shape) for each in products)
            objects[PRODUCTS] = record_of(products_document(size))
            objects[PRODUCTS_CHUNK] = ObjectRecord(size, self._layout.sha256)
        nonzeros = sum(self._layout.by_name[each.unit].size for each in products)
        shards = [None] * self._layout.shard_count
        wanted = copy(self)
        wanted._objects, wanted._products = objects, tuple(products)
        wanted._adapter = adapter if products else {}
        needed = wanted._needed(())
        document = wanted._document(shards, nonzeros, compressor, metadata, needed)
        return len(document) + sum(record.size for record in objects.values())

    def finish(
        self,
        frames: Iterable[tuple[int, bytes]],
        covered: int,
        compressor: JSON,
        metadata: JSON,
        features: Iterable[str] = (),
        state: Mapping[str, str] | None = None,
    ) -> Prepared:
        """Add the shards and name the revision.

        Args:
            frames: number of the chunk and frame, ascending; chunks that are zero may be missing.
            covered: entries of the units that are not kept whole.
            compressor: name and parameters.
            metadata: the user's own, checked.
            features: what a reader must know beyond 1.0 to read the task, beside its frames.
            state: of an exact task, digests of units after it, of at least those that it changes;
                complete when ``frames`` end. None if they are not known.
        """
        required = {*self._needed(features)}
        shards: list[ObjectRecord | None] = []
        chunks: list[int] = []
        nonzeros = sum(self._layout.by_name[each.unit].size for each in self._products)
        for number, (shard, count) in enumerate(_shards(self._layout, frames, required, chunks)):
            nonzeros += count
            shards.append(None if shard is None else record_of(shard))
            if shard is not None:
                self._spool.add(f"delta/c/{number}", shard)
        needed = tuple(sorted(required))
        recorded = recorded_state(state, self._layout, chunks)
        document = self._document(shards, nonzeros, compressor, metadata, needed, recorded)
        decode_document(document, Revision, "zarr.json")  # never publish what cannot be read back
        named = record_of(document)
        stored = [record for record in (*shards, *self._objects.values()) if record is not None]
        entry = CatalogEntry(
            revision=named.sha256,
            size=named.size,
            element=self._element,
            shards=tuple(shards),
            nonzeros=nonzeros,
            parameters=self.parameters(covered),
            replaced=tuple(e.name for e in self.extras if e.name in self._layout.by_name),
            stored_bytes=named.size + sum(record.size for record in stored),
            compressor=compressor,
            features=needed,
            parent=self._parent,
        )
        return Prepared(entry, document, self._spool)

    def _needed(self, features: Iterable[str]) -> tuple[str, ...]:
        """What a reader must know beside the frames' features, in order."""
        used = {
            FEATURE: bool(self._products),
            PACKED_FEATURE: any(each.dtype == PACKED for each in self._products),
            CHAINS: self._parent is not None,
        }
        return tuple(sorted({*features, *(name for name, is_used in used.items() if is_used)}))

    def _keep(self, key: str, data: bytes) -> None:
        self._objects[key] = record_of(data)
        self._spool.add(key, data)

    def _document(
        self,
        shards: Sequence[ObjectRecord | None],
        nonzeros: int,
        compressor: JSON,
        metadata: JSON,
        features: tuple[str, ...] = (),
        state: dict[str, str] | None = None,
    ) -> bytes:
        revision = Revision(
            layout=self._layout.sha256,
            element=self._element,
            shards=tuple(shards),
            nonzeros=nonzeros,
            objects=self._objects,
            extras=self.extras,
            compressor=compressor,
            metadata=metadata,
            features=features,
            products=self._products,
            adapter=self._adapter,
            parent=self._parent,
            state=state,
        )
        return encode_document(revision)


def encode_whole(fine_tune: FineTune, name: str) -> tuple[ExtraRecord, Iterator[tuple[str, bytes]]]:
    """A tensor that is kept whole, as an extra.

    Raises:
        CheckpointError: it is too large for that.
    """
    spec = fine_tune.spec(name)
    record = ExtraRecord(name, spec.dtype, spec.shape)
    if chunk_bytes(record) > MAX_CHUNK_BYTES:
        raise CheckpointError(
            f"{fine_tune.source}: unit {name!r} would be kept whole, but has rows of 2 GiB or more"
        )
    return record, encode_extra(record, fine_tune.read(name))


def _unpacked(unit: UnitRecord, product: PackedProduct) -> Product:
    return Product.of_packed(unit, packed_record(unit.name, product), product.data)


def _shards(
    layout: Layout, frames: Iterable[tuple[int, bytes]], required: set[str], chunks: list[int]
) -> Iterator[tuple[bytes | None, int]]:
    """Every shard of the layout in order, with its number of non-zeros.

    What the frames require of readers is added to ``required``, the numbers of the chunks that have
    entries to ``chunks``.
    """
    kept: list[tuple[int, bytes]] = []
    number, nonzeros = 0, 0
    for chunk, frame in frames:
        while chunk >= (number + 1) * layout.chunks_per_shard:
            yield build_shard(layout.chunks_per_shard, kept), nonzeros
            kept, nonzeros, number = [], 0, number + 1
        header = read_header(frame)
        if header.nonzeros:
            kept.append((chunk - number * layout.chunks_per_shard, frame))
            nonzeros += header.nonzeros
            chunks.append(chunk)
            required |= header.features
    while number < layout.shard_count:
        yield build_shard(layout.chunks_per_shard, kept), nonzeros
        kept, nonzeros, number = [], 0, number + 1


_MEMORY_BYTES = 64 * 2**20


@final
class Spool:
    """Objects that wait to be published: in memory while they are few, else in a temporary file.

    A revision is named by its content, so nothing can be written under its name before all of it
    is known. A context manager; its iterator yields keys and bytes, documents first, the others in
    the order in which they were added.
    """

    def __init__(self, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(memory_bytes)  # noqa: SIM115
        self._places: dict[str, tuple[int, int]] = {}
        self._size = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):  # bytes that a full disk refused are of no use any more
            self._file.close()

    def add(self, key: str, data: bytes) -> None:
        """Append an object.

        Raises:
            StorageError: the disk of the temporary file is full.
        """
        try:
            self._file.seek(self._size)
            self._file.write(data)
            self._file.flush()  # here, not when it is read back or closed
        except OSError as error:
            raise StorageError(
                f"cannot write {len(data)} bytes to a temporary file: {error.strerror or error}; "
                "free some space, or set TMPDIR to a larger disk"
            ) from error
        self._places[key] = (self._size, len(data))
        self._size += len(data)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for key, (offset, size) in documents_first(self._places):
            try:
                self._file.seek(offset)
                data = self._file.read(size)
            except OSError as error:
                raise StorageError(
                    f"cannot read a temporary file back: {error.strerror or error}"
                ) from error
            yield key, data
