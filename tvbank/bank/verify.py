"""Verification: every byte that the catalog names is read and checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from numpy.typing import NDArray

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores
from tvbank.bank.chains import ancestors
from tvbank.bank.checking import Fault, TaskCheck, fault_of, marker_faults, stored_faults
from tvbank.bank.documents import (
    ROOT,
    Catalog,
    record_of,
)
from tvbank.bank.extras import extras_documents
from tvbank.bank.frames import StoredFrame
from tvbank.bank.making import BASE_LOCATION, read_location
from tvbank.bank.proved import refuse_other_state, state_after
from tvbank.bank.routers import StoredRouter
from tvbank.bank.snapshot import read_layout, read_root
from tvbank.bank.task import Task
from tvbank.bank.zarr_documents import (
    markers,
)
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage
from tvbank.vector import BaseModel

#: How often a task is checked again because others changed the bank meanwhile.
_TRIES = 20


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
        return [fault_of(error, ROOT)]
    total = sum(entry.stored_bytes for entry in catalog.tasks.values())
    counter = Counter(listener(progress), total)
    faults = list(_location(storage))
    for key in (*markers("tasks", catalog.tasks)[:1], *markers("routers", catalog.routers)[:1]):
        faults += marker_faults(storage, key)
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
    found = list(TaskCheck(storage, layout, task, entry, counter).faults())
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
                yield fault_of(error, error.key)


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
                yield fault_of(error, error.key)


def _router_faults(storage: Storage, catalog: Catalog, name: str) -> Iterator[Fault]:
    """All checks of one router."""
    yield from marker_faults(storage, f"routers/{name}/zarr.json")
    router = StoredRouter(storage, catalog, name)
    key = f"{router.folder}/zarr.json"
    try:
        document = router.document
    except FormatError as error:
        yield fault_of(error, key)
        return
    for relative, data in extras_documents(document.extras).items():
        if document.objects[relative] != record_of(data):
            what = f"{router.folder}/{relative} is not what it should be"
            yield Fault("document-syntax", what, f"{router.folder}/{relative}")
    sound = True
    for relative, record in document.objects.items():
        for fault in stored_faults(storage, f"{router.folder}/{relative}", record, None):
            sound = False
            yield fault
    if router.entry.size + sum(r.size for r in document.objects.values()) != router.stored_bytes:
        yield Fault("layout", f"the catalog's size of router {router.name!r} is wrong", key)
    if sound:
        try:
            router.load(partial=True)
        except FormatError as error:
            yield fault_of(error, key)


def _location(storage: Storage) -> Iterator[Fault]:
    """The note of where the base is; a bank need not have one."""
    try:
        read_location(storage)
    except FormatError as error:
        yield fault_of(error, BASE_LOCATION)
    except ObjectNotFoundError:
        return
