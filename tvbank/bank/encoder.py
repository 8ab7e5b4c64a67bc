"""What is being written into a bank, and how its units become frames.

Units are encoded on all cores, while at most one large unit is in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, final

import numpy as np
from numpy.typing import NDArray

from tvbank._progress import SILENT, Counter
from tvbank.bank.ahead import LARGE, TOGETHER, grouped, run_ahead
from tvbank.bank.chains import ParentRecord
from tvbank.bank.documents import JSON
from tvbank.bank.product_records import packed_record, record_bytes
from tvbank.bank.shard import CHECKSUM_BYTES, index_bytes
from tvbank.checkpoint import TensorSpec
from tvbank.coding import encode_frame, frame_length
from tvbank.compress import Compressor, Entries, PairedUnit, Pairs
from tvbank.compress.protocol import PackedProduct
from tvbank.layout import Layout, UnitRecord, WholeRecord, fingerprint
from tvbank.vector import TaskVector

_Frames = list[tuple[int, bytes]]

#: Entries of the shortest row whose density says anything; a convolution's kernel has fewer.
_SHORT_ROW = 64


class Start(Protocol):
    """The weights that the entries of a task start from; ``BaseModel`` is one."""

    def spec(self, record: UnitRecord | WholeRecord) -> TensorSpec:
        """Name, dtype and shape of a unit."""

    def expect(self, names: Iterable[str]) -> None:
        """Say which units are read next."""

    def is_kept(self, name: str) -> bool:
        """Whether what is read of a unit needs no check."""

    def read_unchecked(self, name: str) -> NDArray[Any]:
        """A unit's weights; if it is not kept, the caller passes their fingerprint to ``check``."""

    def check(self, name: str, sha256: str) -> None:
        """Compare a fingerprint with the bank's."""

    def keep(self, name: str, array: NDArray[Any]) -> None:
        """Keep a unit that was checked, if it fits in memory."""


@final
@dataclass(frozen=True)
class Draft:
    """What is being written into a bank: a fine-tune, its base, and how it is compressed.

    Attributes:
        layout: of the bank.
        base: what its entries start from: the base's weights, checked while they are read, or the
            state of a parent.
        vector: what is stored of the fine-tune.
        compressor: what to keep.
        pool: threads to work on.
        metadata: the user's own JSON, as ``check_metadata`` returns it.
        parent: the task whose state ``base`` is, if it is not the base's.
        counter: of the bytes of the fine-tune.
        hashed: SHA-256 of the new weights of units, of which it is known already.
    """

    layout: Layout
    base: Start
    vector: TaskVector
    compressor: Compressor
    pool: ThreadPoolExecutor
    metadata: JSON = field(default_factory=dict)
    parent: ParentRecord | None = None
    counter: Counter = field(default_factory=lambda: Counter(SILENT, 0))
    hashed: Mapping[str, str] = field(default_factory=dict)


def row_length(shape: tuple[int, ...]) -> int | None:
    """Entries of a row of a unit, by whose densities its mask is coded; None for a vector.

    A row spans as many of the last dimensions as give 64 entries, but never the first dimension.
    """
    length = 1
    for size in reversed(shape[1:]):
        length *= size
        if length >= _SHORT_ROW:
            break
    return length if len(shape) > 1 and length else None


@final
class Encoder:
    """Encodes the units of a draft; while one's frames are taken, the next ones are encoded.

    Attributes:
        state: of an exact task, the SHA-256 of the new weights of each unit whose frames have been
            taken; None of others.
    """

    def __init__(self, draft: Draft) -> None:
        self.state: dict[str, str] | None = {} if draft.compressor.element == "int32" else None
        self._draft = draft
        self._layout, self._base = draft.layout, draft.base
        self._tuned = draft.vector.fine_tune
        self._together: dict[str, tuple[str, ...]] = {}

    def frames(self) -> Iterator[tuple[int, bytes]]:
        """Number of the chunk and its frame, of every chunk of every unit, ascending.

        The base's fingerprints are computed at the same time. All have been compared when this
        iterator ends; nothing may be published before.

        Raises:
            BaseMismatchError: the base has other weights than the bank's.
            NonFiniteError: the compressor is lossy and met NaN or infinity.
        """
        units = self._draft.vector.units
        groups = grouped(((unit.name, self._bytes(unit)) for unit in units), TOGETHER)
        self._together = {group[0]: group for group in groups}
        for frames, read in run_ahead(units, self._start, self._bytes):
            yield from frames
            self._draft.counter.advance(read)

    def _bytes(self, unit: UnitRecord) -> int:
        return self._base.spec(unit).nbytes + self._tuned.spec(unit.name).nbytes

    def _start(self, unit: UnitRecord) -> Callable[[], tuple[_Frames, int]]:
        if expected := self._together.get(unit.name):
            self._base.expect(expected)
            self._tuned.expect(expected)
        known = self._base.is_kept(unit.name)  # before it is read: others may keep it meanwhile
        base = self._base.read_unchecked(unit.name)
        seen = None if known else self._draft.pool.submit(fingerprint, base)
        tuned = self._tuned.read(unit.name)
        new: Future[str] | None = None
        if self.state is not None:
            if (sha256 := self._draft.hashed.get(unit.name)) is not None:
                self.state[unit.name] = sha256
            else:
                new = self._draft.pool.submit(fingerprint, tuned)
        parts: list[Future[_Frames]]
        if unit.size < LARGE:
            parts = [self._draft.pool.submit(self._encode_unit, unit, base, tuned)]
        else:
            entries = self._draft.compressor.prepare(unit.name, base, tuned, self._draft.pool.map)
            parts = [
                self._draft.pool.submit(self._encode, unit, entries, [chunk], base)
                for chunk in self._layout.chunks(unit)
            ]

        def finish() -> tuple[_Frames, int]:
            if seen is not None:
                self._base.check(unit.name, seen.result())
                self._base.keep(unit.name, base)
            if self.state is not None and new is not None:
                self.state[unit.name] = new.result()
            return [frame for part in parts for frame in part.result()], tuned.nbytes

        return finish

    def _encode_unit(self, unit: UnitRecord, base: NDArray[Any], tuned: NDArray[Any]) -> _Frames:
        entries = self._draft.compressor.prepare(unit.name, base, tuned)
        return self._encode(unit, entries, self._layout.chunks(unit), base)

    def _encode(
        self, unit: UnitRecord, entries: Entries, chunks: list[int] | range, base: NDArray[Any]
    ) -> _Frames:
        compressor = self._draft.compressor
        given = base if compressor.given_base else None
        return [
            (
                chunk,
                encode_chunk(self._layout, unit, entries, chunk, compressor.frame_version, given),
            )
            for chunk in chunks
        ]


def encode_chunk(
    layout: Layout,
    unit: UnitRecord,
    entries: Entries,
    chunk: int,
    version: int,
    base: NDArray[Any] | None = None,
) -> bytes:
    """The frame of one of a unit's chunks, of a version of frames or an older one.

    It may be given the weights of ``base``, the unit as its entries start from it.
    """
    values, row, phase = _chunk_of(layout, unit, entries, chunk)
    first = chunk * layout.chunk_length - unit.offset
    block = None if base is None else base.reshape(-1)[first : first + layout.chunk_length]
    return encode_frame(values, version=version, row=row, phase=phase, base=block)


def _chunk_of(
    layout: Layout, unit: UnitRecord, entries: Entries, chunk: int
) -> tuple[NDArray[Any], int | None, int]:
    """The entries of a chunk, its unit's row, and the entries of that row before the first."""
    length = layout.chunk_length
    first = chunk * length - unit.offset
    values = entries(first, min(first + length, unit.size))
    if len(values) < length:
        values = np.concatenate([values, np.zeros(length - len(values), values.dtype)])
    row = row_length(unit.shape)
    return values, row, first % row if row else 0


@final
class BankPairs(Pairs):
    """See ``Pairs``. The base's weights are compared with the bank's when the frames are made."""

    def __init__(
        self, draft: Draft, *, fixed_bytes: int, parameters: int, products_bytes: int
    ) -> None:
        """Describe the task vector; nothing is read yet.

        Args:
            draft: what is being written.
            fixed_bytes: of the revision's documents and extras.
            parameters: entries of all units and extras.
            products_bytes: of the revision's documents, if there are products.
        """
        layout, vector = draft.layout, draft.vector
        self._layout, self._base, self._tuned = layout, draft.base, vector.fine_tune
        self._version = draft.compressor.frame_version
        self.units = [PairedUnit(unit.name, unit.shape) for unit in vector.units]
        self.aliases, self.whole = layout.aliases, vector.whole
        self.each, self.progress = draft.pool.map, draft.counter.progress
        # Chunks of shards that end up empty take no index: an upper bound, by less than a shard's.
        self.fixed_bytes = fixed_bytes + layout.shard_count * index_bytes(layout.chunks_per_shard)
        self.parameters, self.chunk_length = parameters, layout.chunk_length
        self.base_bytes, self.products_bytes = layout.unit_bytes, products_bytes

    def read(self, unit: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """See ``Pairs.read``."""
        return self._base.read_unchecked(unit), self._tuned.read(unit)

    def read_whole(self, name: str) -> NDArray[Any]:
        """See ``Pairs.read_whole``."""
        return self._tuned.read(name)

    def frame_bytes(self, unit: str, entries: Entries, *, of_chunks: int | None = None) -> int:
        """See ``Pairs.frame_bytes``."""
        record = self._layout.by_name[unit]
        price = partial(_price, self._layout, record, entries, self._version)
        chunks = self._layout.chunks(record)
        if of_chunks is None or of_chunks >= len(chunks):
            return sum(self.each(price, chunks))
        some = [chunks[(2 * n + 1) * len(chunks) // (2 * of_chunks)] for n in range(of_chunks)]
        return sum(self.each(price, some)) * len(chunks) // of_chunks

    def spared_bytes(self, units: Collection[str]) -> int:
        """See ``Pairs.spared_bytes``."""
        layout = self._layout
        used = {
            chunk // layout.chunks_per_shard
            for name in units
            for chunk in layout.chunks(layout.by_name[name])
        }
        return (layout.shard_count - len(used)) * index_bytes(layout.chunks_per_shard)

    def product_bytes(self, unit: str, product: PackedProduct) -> int:
        """See ``Pairs.product_bytes``."""
        record = packed_record(unit, product)
        return record.nbytes(self._layout.by_name[unit].shape) + record_bytes(record)


def _price(layout: Layout, unit: UnitRecord, entries: Entries, version: int, chunk: int) -> int:
    """Bytes of a frame and its checksum; a chunk of zeros takes none."""
    values, row, phase = _chunk_of(layout, unit, entries, chunk)
    length = frame_length(values, version=version, row=row, phase=phase)
    return length + CHECKSUM_BYTES if length else 0
