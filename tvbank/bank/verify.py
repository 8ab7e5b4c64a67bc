"""Verification: every byte that the catalog names is read and checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, final

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores
from tvbank.bank.chains import ancestors
from tvbank.bank.documents import (
    ROOT,
    Catalog,
    CatalogEntry,
    ObjectRecord,
    record_of,
)
from tvbank.bank.extras import extras_documents
from tvbank.bank.frames import StoredFrame
from tvbank.bank.making import BASE_LOCATION, read_location
from tvbank.bank.products import products_documents
from tvbank.bank.proved import refuse_other_state, state_after
from tvbank.bank.reader import DeltaReader
from tvbank.bank.routers import StoredRouter
from tvbank.bank.shard import CHECKSUM_BYTES
from tvbank.bank.snapshot import read_layout, read_root, read_stored
from tvbank.bank.task import Task
from tvbank.bank.zarr_documents import (
    DELTA,
    MARKER,
    delta_document,
    markers,
)
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout, UnitRecord
from tvbank.storage import ObjectNotFoundError, Storage
from tvbank.vector import BaseModel

#: Seconds after which whoever waits for a unit hears how far it is.
_PATIENCE = 0.2

#: How often a task is checked again because others changed the bank meanwhile.
_TRIES = 20


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


def verify(
    storage: Storage,
    progress: Listener = None,
    base: BaseModel | None = None,
    prove: bool = False,
) -> list[Fault]:
    """Find the faults of a bank.

    A task that a store lost, because it ignored conditions when two writers met, cannot be told
    here from one that was removed: writers prove their store before they publish.

    Args:
        storage: the store that holds it.
        progress: a ``Progress``, or a function that is called with bytes checked and in all.
        base: the base's weights, beside which entries are decoded that were stored given them.
            Without it such frames are checked by their checksums and headers.
        prove: whether the weights that exact tasks make of the base's are compared with the digests
            that they record.

    Returns:
        The faults of what the catalog named at the start, without tasks that others removed since.

    Raises:
        BankNotFoundError: there is no bank at all.
        StorageError: the store refused.
    """
    try:
        catalog = read_root(storage)[0]
        layout = read_layout(storage, catalog)
    except FormatError as error:
        return [_fault(error, ROOT)]
    total = sum(entry.stored_bytes for entry in catalog.tasks.values())
    counter = Counter(listener(progress), total)
    faults = list(_location(storage))
    for key in (*markers("tasks", catalog.tasks)[:1], *markers("routers", catalog.routers)[:1]):
        faults += _marker(storage, key)
    for name, entry in catalog.tasks.items():
        begun = counter.done
        check = partial(_task_faults, storage, layout, counter, base, prove)
        faults += _settled(storage, catalog, name, "tasks", check)
        counter.advance(max(0, begun + entry.stored_bytes - counter.done))
    for name in catalog.routers:
        faults += _settled(storage, catalog, name, "routers", partial(_router_faults, storage))
    return faults


def _settled(
    storage: Storage,
    catalog: Catalog,
    name: str,
    kind: Literal["tasks", "routers"],
    check: Callable[[Catalog, str], Iterator[Fault]],
) -> list[Fault]:
    """Faults of a task or router; checked again if others have changed the bank meanwhile.

    Its objects may have been removed before they were read here.
    """
    for _ in range(_TRIES):
        faults = list(check(catalog, name))
        if not faults:
            break
        try:
            newest = read_root(storage)[0]
        except FormatError:
            break
        if newest.generation == catalog.generation:
            break
        if name not in getattr(newest, kind):
            return []
        catalog = newest
    return faults


def _task_faults(
    storage: Storage,
    layout: Layout,
    counter: Counter,
    base: BaseModel | None,
    prove: bool,
    catalog: Catalog,
    name: str,
) -> Iterator[Fault]:
    """All checks of one task."""
    entry = catalog.tasks[name]
    task = Task(storage, layout, name, entry)
    found = list(_TaskCheck(storage, layout, task, entry, counter).faults())
    yield from found
    before = {each: catalog.tasks[each] for each in ancestors(catalog.tasks, name)}
    whole = Task(storage, layout, name, entry, by_shard=True, ancestors=before)
    if base is None or found:
        return
    if prove and whole.element == "int32":
        yield from _state_faults(whole, layout, base)
    elif whole.needs_base:
        yield from _faults_beside(whole, layout, base)


def _state_faults(task: Task, layout: Layout, base: BaseModel) -> Iterator[Fault]:
    """Units whose weights after an exact task are not those that it records, or do not decode."""
    recorded = state_after(task.lineage)
    with all_cores() as pool:
        for name in task:
            made = base.read(name).copy()
            flat, length = made.reshape(-1), layout.chunk_length

            def step(frame: StoredFrame, flat: NDArray[Any] = flat, length: int = length) -> None:
                block = flat[frame.first : frame.first + length]
                block[:] = task.after(frame, block)

            try:
                deque(pool.map(step, task.frames(name)), 0)
                if name in recorded:
                    refuse_other_state(task.name, name, made, recorded[name])
            except CorruptionError as error:
                yield _fault(error, error.key)


def _faults_beside(task: Task, layout: Layout, base: BaseModel) -> Iterator[Fault]:
    """What is wrong with the entries of a task, decoded beside the base's weights."""
    with all_cores() as pool:
        for name in task:
            weights = base.read(name).reshape(-1)
            frames = list(task.frames(name))
            blocks = (weights[f.first : f.first + layout.chunk_length] for f in frames)
            try:
                deque(pool.map(task.decode, frames, blocks), 0)
            except CorruptionError as error:
                yield _fault(error, error.key)


def _router_faults(storage: Storage, catalog: Catalog, name: str) -> Iterator[Fault]:
    """All checks of one router."""
    yield from _marker(storage, f"routers/{name}/zarr.json")
    router = StoredRouter(storage, catalog, name)
    key = f"{router.folder}/zarr.json"
    try:
        document = router.document
    except FormatError as error:
        yield _fault(error, key)
        return
    for relative, data in extras_documents(document.extras).items():
        if document.objects[relative] != record_of(data):
            what = f"{router.folder}/{relative} is not what it should be"
            yield Fault("document-syntax", what, f"{router.folder}/{relative}")
    sound = True
    for relative, record in document.objects.items():
        for fault in _stored(storage, f"{router.folder}/{relative}", record, None):
            sound = False
            yield fault
    if router.entry.size + sum(r.size for r in document.objects.values()) != router.stored_bytes:
        yield Fault("layout", f"the catalog's size of router {router.name!r} is wrong", key)
    if sound:
        try:
            router.load(partial=True)
        except FormatError as error:
            yield _fault(error, key)


@final
class _TaskCheck:
    """All checks of one task; a fault does not keep the others from being found."""

    def __init__(
        self, storage: Storage, layout: Layout, task: Task, entry: CatalogEntry, counter: Counter
    ) -> None:
        self._storage, self._layout, self._task, self._entry = storage, layout, task, entry
        self._counter = counter
        self._folder = f"tasks/{task.name}/{entry.revision}"

    def faults(self) -> Iterator[Fault]:
        yield from _marker(self._storage, f"tasks/{self._task.name}/zarr.json", self._task.name)
        yield from self._documents()
        yield from self._delta()

    def _documents(self) -> Iterator[Fault]:
        try:
            revision = self._task.document
        except FormatError as error:
            yield _fault(error, f"{self._folder}/zarr.json", self._task.name)
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
                    yield _fault(error, error.key)
        for name in self._task.products:
            try:
                self._task.products[name]
            except CorruptionError as error:
                if error.reason.startswith("product"):  # others were reported with the object
                    yield _fault(error, error.key)
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
                        yield _fault(counted, counted.key)
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
        yield from _stored(self._storage, key, record, self._task.name)

    def _contradiction(self, reason: str, what: str) -> Fault:
        key = f"{self._folder}/zarr.json"
        return Fault(reason, f"task {self._task.name!r}: {what}", key, self._task.name)


@final
class _Counting:
    """The non-zeros of units, each frame decoded on its own, on all cores.

    Whoever waits hears of what is done a few times a second; leaving it early, as by an
    interrupt, takes no longer than the frames that are being decoded.

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


def _location(storage: Storage) -> Iterator[Fault]:
    """The note of where the base is; a bank need not have one."""
    try:
        read_location(storage)
    except FormatError as error:
        yield _fault(error, BASE_LOCATION)
    except ObjectNotFoundError:
        return


def _marker(storage: Storage, key: str, task: str | None = None) -> Iterator[Fault]:
    """The constant document of a plain group."""
    for fault in _stored(storage, key, record_of(MARKER), task):
        yield Fault("marker", f"{key} is not the document of a plain group", key, fault.task)


def _stored(storage: Storage, key: str, record: ObjectRecord, task: str | None) -> Iterator[Fault]:
    try:
        read_stored(storage, key, record, task)
    except CorruptionError as error:
        yield _fault(error, key, task)


def _fault(error: FormatError, key: str, task: str | None = None) -> Fault:
    if isinstance(error, CorruptionError):
        return Fault(
            error.reason, str(error), error.key, error.task, error.unit, error.start, error.stop
        )
    return Fault(error.reason, str(error), key, task)
