"""One task checked: its documents, its frames, what its entries say; and single objects."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Self, final

from tvbank._progress import Counter
from tvbank.bank.ahead import all_cores
from tvbank.bank.documents import (
    CatalogEntry,
    ObjectRecord,
    record_of,
)
from tvbank.bank.extras import extras_documents
from tvbank.bank.products import products_documents
from tvbank.bank.reader import DeltaReader
from tvbank.bank.shard import CHECKSUM_BYTES
from tvbank.bank.snapshot import read_stored
from tvbank.bank.task import Task
from tvbank.bank.zarr_documents import (
    DELTA,
    MARKER,
    delta_document,
)
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import Storage

#: Seconds between two reports of progress while a unit is counted.
_PATIENCE = 0.2


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a bank.

    Attributes:
        reason: the spec's code, for programs.
        message: one sentence, for people.
        key: the object.
        task, unit: whose it is, where known.
        start, stop: the range of bytes in the object, where known.
    """

    reason: str
    message: str
    key: str
    task: str | None = None
    unit: str | None = None
    start: int | None = None
    stop: int | None = None


@final
class TaskCheck:
    """All checks of one task; a fault does not keep the others from being found."""

    def __init__(
        self, storage: Storage, layout: Layout, task: Task, entry: CatalogEntry, counter: Counter
    ) -> None:
        self._storage, self._layout, self._task, self._entry = storage, layout, task, entry
        self._counter = counter
        self._folder = f"tasks/{task.name}/{entry.revision}"

    def faults(self) -> Iterator[Fault]:
        """Everything that is wrong with it, as far as one fault does not hide others."""
        yield from marker_faults(
            self._storage, f"tasks/{self._task.name}/zarr.json", self._task.name
        )
        yield from self._documents()
        yield from self._delta()

    def _documents(self) -> Iterator[Fault]:
        try:
            revision = self._task.document
        except FormatError as error:
            yield fault_of(error, f"{self._folder}/zarr.json", self._task.name)
            return
        expected = {DELTA: delta_document(self._layout, self._entry.element)}
        expected |= extras_documents(revision.extras)
        expected |= products_documents(revision)
        for key, document in expected.items():
            if revision.objects.get(key) != record_of(document):
                yield self._contradiction("document-syntax", f"{key} is not what it should be")
        for key, record in revision.objects.items():
            yield from self._object(f"{self._folder}/{key}", record)
        for name in self._task.extras:
            try:
                self._task.extras.check(name)
            except CorruptionError as error:
                if error.reason == "extra":  # others were reported with the object
                    yield fault_of(error, error.key)
        for name in self._task.products:
            try:
                self._task.products[name]
            except CorruptionError as error:
                if error.reason.startswith("product"):  # others were reported with the object
                    yield fault_of(error, error.key)
        stored = sum(r.size for r in (*self._entry.shards, *revision.objects.values()) if r)
        covered = sum(unit.size for name, unit in self._task.items())
        covered += sum(extra.size for extra in revision.extras)
        counted = (self._entry.size + stored, covered)
        if counted != (self._entry.stored_bytes, self._entry.parameters):
            yield self._contradiction("layout", "the catalog's totals are wrong")

    def _delta(self) -> Iterator[Fault]:
        reader = DeltaReader(self._storage, self._layout, self._task.name, self._entry)
        for number, record in enumerate(self._entry.shards):
            if record is not None:
                yield from self._object(reader.key(number), record)
        products = self._products()
        nonzeros = sum(self._layout.by_name[name].size for name in products or ())
        broken: set[str] = set()
        changed: list[str] = []
        required: frozenset[str] = frozenset()
        with all_cores() as pool, _Counting(reader, pool, self._counter) as counting:
            for unit, counted in counting.units(self._layout.units):
                if isinstance(counted, CorruptionError):
                    if counted.unit is None and counted.key in broken:
                        continue  # a missing shard or damaged index concerns all of its units
                    broken.add(counted.key)
                    if counted.reason != "object-missing":
                        yield fault_of(counted, counted.key)
                    continue
                nonzeros += counted
                changed += [unit.name] if counted else []
                required |= counting.required[unit.name]
                if counted and unit.name in self._entry.replaced:
                    yield self._contradiction(
                        "address", f"unit {unit.name!r} is replaced, yet stored"
                    )
                if counted and unit.name in (products or ()):
                    yield self._contradiction(
                        "address", f"unit {unit.name!r} is a product, yet has entries"
                    )
        if not broken and products is not None and nonzeros != self._entry.nonzeros:
            yield self._contradiction("layout", f"{nonzeros} non-zeros are stored, not as stated")
        if not broken:
            state = self._state()
            if state is not None and set(state) != set(changed):
                yield self._contradiction("layout", "its state is not of the units that it changes")
        if lacking := sorted(required - {*self._entry.features}):
            yield self._contradiction("layout", f"its frames need {', '.join(lacking)}, unstated")
        yield from self._beyond(reader)

    def _products(self) -> Collection[str] | None:
        """Units that are products; ``None`` if the document that names them is damaged."""
        try:
            return self._task.products
        except FormatError:
            return None

    def _state(self) -> Collection[str] | None:
        """Units whose new weights are recorded; ``None`` if there is no sound record of them."""
        try:
            return self._task.document.state
        except FormatError:
            return None

    def _beyond(self, reader: DeltaReader) -> Iterator[Fault]:
        """Frames in the last shard after the last unit."""
        last = self._layout.shard_count - 1
        if last < 0 or (record := self._entry.shards[last]) is None:
            return
        try:
            index = reader.index(last, record)
        except CorruptionError:
            return  # reported with the units
        chunks = self._layout.length // self._layout.chunk_length
        used = chunks - last * self._layout.chunks_per_shard
        if any(index.locate(n) for n in range(used, self._layout.chunks_per_shard)):
            yield self._contradiction("address", "there are frames beyond the last unit")

    def _object(self, key: str, record: ObjectRecord) -> Iterator[Fault]:
        yield from stored_faults(self._storage, key, record, self._task.name)

    def _contradiction(self, reason: str, what: str) -> Fault:
        key = f"{self._folder}/zarr.json"
        return Fault(reason, f"task {self._task.name!r}: {what}", key, self._task.name)


@final
class _Counting:
    """The non-zeros of units, each frame decoded on its own, on all cores.

    Progress is reported a few times a second. Leaving it early, as by an interrupt, waits for
    no more than the frames that are being decoded.

    Attributes:
        required: the features that the frames of each unit that has been counted need.
    """

    def __init__(self, reader: DeltaReader, pool: ThreadPoolExecutor, counter: Counter) -> None:
        self._reader, self._pool, self._counter = reader, pool, counter
        self._left = False
        self.required: dict[str, frozenset[str]] = {}
        self._decoded: deque[int] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._left = True

    def units(
        self, units: Iterable[UnitRecord]
    ) -> Iterator[tuple[UnitRecord, int | CorruptionError]]:
        """Of each unit its number of non-zeros, or what is wrong with it; in their order."""
        started = [(unit, self._pool.submit(self._count, unit)) for unit in units]
        for unit, counted in started:
            while not counted.done():
                wait([counted], _PATIENCE)
                self._advance()
            yield unit, counted.result()
        self._advance()

    def _advance(self) -> None:
        size = 0
        while self._decoded:
            size += self._decoded.popleft()
        if size:
            self._counter.advance(size)

    def _count(self, unit: UnitRecord) -> int | CorruptionError:
        count = 0
        required: frozenset[str] = frozenset()
        try:
            for frame in () if self._left else self._reader.frames(unit):
                header = self._reader.header(frame)
                required |= header.features
                if header.given_base:  # decoded beside the base, if there is one
                    count += header.nonzeros
                else:
                    count += len(self._reader.decode(frame)[0])
                self._decoded.append(len(frame.data) + CHECKSUM_BYTES)
                if self._left:
                    break
        except CorruptionError as error:
            return error
        self.required[unit.name] = required
        return count


def marker_faults(storage: Storage, key: str, task: str | None = None) -> Iterator[Fault]:
    """The constant document of a plain group."""
    for fault in stored_faults(storage, key, record_of(MARKER), task):
        yield Fault("marker", f"{key} is not the document of a plain group", key, fault.task)


def stored_faults(
    storage: Storage, key: str, record: ObjectRecord, task: str | None
) -> Iterator[Fault]:
    """What is wrong with an object, held against its record."""
    try:
        read_stored(storage, key, record, task)
    except CorruptionError as error:
        yield fault_of(error, key, task)


def fault_of(error: FormatError, key: str, task: str | None = None) -> Fault:
    """An error as a fault; what the error does not say of its place is given."""
    if isinstance(error, CorruptionError):
        return Fault(
            error.reason, str(error), error.key, error.task, error.unit, error.start, error.stop
        )
    return Fault(error.reason, str(error), key, task)
