"""Copying tasks from one bank to another, object by object: nothing is decoded or encoded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import final

from tvbank._progress import Counter, Listener, listener
from tvbank.bank.ahead import all_cores, run_ahead
from tvbank.bank.chains import refuse_needed
from tvbank.bank.contents import Contents, contents_of
from tvbank.bank.documents import LAYOUT, Catalog, CatalogEntry, ObjectRecord
from tvbank.bank.gc import GRACE
from tvbank.bank.making import make_bank, recall_base, refuse_occupied
from tvbank.bank.placing import is_sound, mend
from tvbank.bank.publish import (
    Routers,
    Tasks,
    publish_task,
    read_root_to_publish,
    refuse_existing,
    refuse_lost_parent,
    replace_root,
)
from tvbank.bank.routers import StoredRouter
from tvbank.bank.snapshot import read_layout, read_root_to_change
from tvbank.bank.task import Task
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import BankNotFoundError, BaseMismatchError, name_some
from tvbank.layout import Layout
from tvbank.naming import Names
from tvbank.storage import Location, Storage, open_storage
from tvbank.vector import BaseModel


@dataclass(frozen=True)
class CopyReport:
    """What was copied.

    Attributes:
        tasks: names of the tasks that are now there and were not before.
        present: names of the tasks that were there already, in the same revision.
        objects: number of objects copied.
        bytes: their bytes.
        resumed: number of objects that were there already, read and found sound: an earlier,
            interrupted copy had left them.
        routers: names of the routers that are now there and were not before.
        repaired: number of objects that were there damaged, or missing from what the target's
            catalog names, and were written anew.
    """

    tasks: tuple[str, ...]
    present: tuple[str, ...]
    objects: int
    bytes: int
    resumed: int
    routers: tuple[str, ...] = ()
    repaired: int = 0


def copy(
    source: Location,
    target: Location,
    tasks: Iterable[str] | None = None,
    *,
    replace: bool = False,
    fold: bool = False,
    base: CheckpointSource | None = None,
    names: Names | None = None,
    progress: Listener = None,
) -> CopyReport:
    """Copy tasks between two banks of one base, on any stores, as they are stored.

    Each task appears at the target whole, once all of its objects are there. A copy that was
    interrupted goes on where it was when it is started again: what lies at the target is read, and
    taken if it has its digest. Routers are copied after the tasks, if they know no other tasks
    than the chosen ones.

    Args:
        source: a bank.
        target: a bank of the same base, or an empty place, where one is made.
        tasks: which; all by default. Those that they start from (see ``Bank.add``, parent) come
            along.
        fold: whether these stay behind instead, and tasks that start from others are copied as
            tasks that start from the base, with the same weights: they are encoded anew.
        base: the base's weights, if ``fold`` meets tasks that were stored given what they start
            from; by default where ``create`` found them.
        names: what they call each of the bank's names, if no way is found; see ``export``.
        replace: whether to replace tasks and routers of the same names. Those that are there in the
            same revision are then read, and what is damaged of them is repaired; otherwise they
            are left alone unread.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        BankNotFoundError, TaskNotFoundError: the source.
        CorruptionError: the source is damaged; nothing damaged is copied.
        BaseMismatchError: the target is a bank of another base, or of other chunks.
        TaskNeededError: tasks of the target start from one that would be replaced.
        TaskExistsError, RouterExistsError: the target has another task or router of that name.
        StorageError: a store refused; the target is what it was, or has further tasks, whole.
    """
    contents = contents_of(open_storage(source))
    chosen = contents.chosen(tasks)
    chained: list[str] = []
    if fold:
        asked = set(chosen if tasks is None else tasks)
        chained = [name for name in chosen if name in asked and chosen[name].parent]
        chosen = {n: entry for n, entry in chosen.items() if n in asked and not entry.parent}
    storage = open_storage(target)
    storage.refuse_read_only()
    there, repaired = _prepare(contents, storage)
    for name in chosen:
        same = name in there and there[name].revision == chosen[name].revision
        refuse_existing(there, name, replace=replace or same)
    wanted = {
        name: entry
        for name, entry in chosen.items()
        if name not in there or there[name].revision != entry.revision
    }
    fresh, routers = _routers(contents, storage, chosen, replace=replace)
    looked_at = chosen if replace else wanted
    total = sum(entry.stored_bytes for entry in looked_at.values())
    work = _Work(contents, storage, Counter(listener(progress), total))
    for name, entry in looked_at.items():
        work.task(name, entry, replace=replace)
    made = work.folded(chained, base, names, replace=replace)
    for router in routers:
        work.router(router, replace=replace)
    new = (*wanted, *made)
    return CopyReport(
        new, tuple(name for name in (*chosen, *chained) if name not in new),
        work.objects, work.bytes, work.resumed, fresh, work.repaired + repaired,
    )  # fmt: skip


def _routers(
    source: Contents, target: Storage, tasks: Collection[str], *, replace: bool
) -> tuple[tuple[str, ...], list[StoredRouter]]:
    """Routers of the source that know these tasks only: those that the target lacks, by name.

    And those to look at; if ``replace``, these are all of them.
    """
    there = read_root_to_change(target)[0].routers
    fresh, looked_at = [], []
    for name, router in source.routers(tasks).items():
        if name not in there or there[name].revision != router.revision:
            refuse_existing(there, name, "router", replace=replace)
            fresh.append(name)
        elif not replace:
            continue
        looked_at.append(router)
    return tuple(fresh), looked_at


def _prepare(source: Contents, target: Storage) -> tuple[Tasks, int]:
    """The target's tasks, and 1 if its layout was damaged and had to be repaired.

    Where the target is empty, a bank is made there first.
    """
    try:
        catalog = read_root_to_change(target)[0]
    except BankNotFoundError:
        refuse_occupied(target)
        make_bank(target, source.read(LAYOUT, source.catalog.layout))
        return {}, 0
    if catalog.layout != source.catalog.layout:
        _refuse_other_base(source, read_layout(target, catalog), target)
    return catalog.tasks, mend(target, [(LAYOUT, source.layout.document)])


def _refuse_other_base(source: Contents, other: Layout, target: Storage) -> None:
    ours, theirs = _weights(source.layout), _weights(other)
    differ = sorted(name for name in ours.keys() | theirs if ours.get(name) != theirs.get(name))
    why = f"units differ: {name_some(differ)}" if differ else "its chunks or tied names are others"
    raise BaseMismatchError(
        f"{target.location} is a bank of another base than {source.storage.location} ({why}): "
        "copy to a bank of the same base, or to an empty place",
        differ,
    )


def _weights(layout: Layout) -> dict[str, tuple[object, ...]]:
    """Element types, shapes and digests of a base's tensors, by their names."""
    return {unit.name: (unit.dtype, unit.shape, unit.sha256) for unit in layout.records}


@final
class _Work:
    """Copies tasks and counts."""

    def __init__(
        self,
        source: Contents,
        target: Storage,
        counter: Counter,
    ) -> None:
        self._source, self._target, self._counter = source, target, counter
        self._parallel = max(source.storage.parallel, target.parallel)
        self.objects = self.bytes = self.resumed = self.repaired = 0

    def task(self, name: str, entry: CatalogEntry, *, replace: bool) -> None:
        """Copy a task's objects, then name it in the target's catalog, if that does not yet."""

        def edit(tasks: Tasks) -> Tasks:
            same = name in tasks and tasks[name].revision == entry.revision
            refuse_existing(tasks, name, replace=replace or same)
            if not same:
                refuse_needed(tasks, name, "remove those from the target first, or copy to another")
                refuse_lost_parent(tasks, entry.parent)
            return {**tasks, name: entry}

        objects = self._source.objects(name)
        with self._target.exclusive():
            there = self._catalog().tasks.get(name)
            named = there is not None and there.revision == entry.revision
            self._place(objects, f"tasks/{name}/{entry.revision}/", named=named, task=name)
            self._mark("tasks", name, named=named)
            if not named:
                sizes = {key: record.size for key, record in objects.items()}
                replace_root(self._target, self._source.layout, edit, sizes=sizes)

    def folded(
        self,
        tasks: Iterable[str],
        base: CheckpointSource | None,
        names: Names | None,
        *,
        replace: bool,
    ) -> list[str]:
        """Write tasks without those that they start from; which were not there so already."""
        opened = [self._source.task(name) for name in tasks]
        if not any(task.needs_base for task in opened):
            return [task.name for task in opened if self._folded(task, None, replace)]
        source = recall_base(self._source.storage) if base is None else base
        with borrow_checkpoint(source) as checkpoint:
            model = BaseModel(self._source.layout, checkpoint, names=names)
            return [task.name for task in opened if self._folded(task, model, replace)]

    def _folded(self, task: Task, base: BaseModel | None, replace: bool) -> bool:
        from tvbank.bank.folding import fold  # imports numba, for the codec
        from tvbank.bank.writer import Spool

        layout, name = self._source.layout, task.name
        read = base if task.needs_base else None
        weights = None if read is None else lambda unit: read.read(unit).reshape(-1)
        with Spool() as spool, all_cores() as pool:
            prepared = fold(layout, task, spool, None, pool, weights)
            there = self._catalog().tasks.get(name)
            if there is not None and there.revision == prepared.entry.revision:
                return False
            publish_task(self._target, layout, name, prepared, replace=replace)
            self.bytes += prepared.entry.stored_bytes
            self.objects += 1 + sum(1 for _ in prepared.objects)
        return True

    def router(self, router: StoredRouter, *, replace: bool) -> None:
        """Copy a router's objects, which are few, then name it likewise."""

        def edit(routers: Routers) -> Routers:
            same = router.name in routers and routers[router.name].revision == router.revision
            refuse_existing(routers, router.name, "router", replace=replace or same)
            return {**routers, router.name: router.entry}

        with self._target.exclusive():
            there = self._catalog().routers.get(router.name)
            named = there is not None and there.revision == router.revision
            self._place(router.objects(), f"{router.folder}/", named=named)
            self._mark("routers", router.name, named=named)
            if not named:
                sizes = {key: record.size for key, record in router.objects().items()}
                replace_root(self._target, self._source.layout, edit_routers=edit, sizes=sizes)

    def _catalog(self) -> Catalog:
        """The target's newest, if the target is still a bank of the same base."""
        return read_root_to_publish(self._target, self._source.layout)[0]

    def _mark(self, kind: str, name: str, *, named: bool) -> None:
        """Write the documents of the groups on the way to a task or router."""
        documents = [(marker, MARKER) for marker in markers(kind, [name])]
        if named:
            self.repaired += mend(self._target, documents)
            return
        for key, data in documents:
            self._target.put(key, data)

    def _place(
        self,
        objects: Mapping[str, ObjectRecord],
        folder: str,
        *,
        named: bool,
        task: str | None = None,
    ) -> None:
        """Copy the objects of a revision that are not there, or not as they were recorded.

        Args:
            objects: of the revision, by key.
            folder: of the revision.
            named: whether the target's catalog names the revision, so that ``gc`` leaves it alone.
            task: whose revision it is, for errors.
        """
        present = self._present(folder, named=named)
        found = [(key, record) for key, record in objects.items() if key in present]
        with ThreadPoolExecutor(self._parallel) as pool:
            check = partial(is_sound, self._target)
            keys, records = [key for key, _ in found], [record for _, record in found]
            run = map if self._parallel == 1 else pool.map
            sound = set()
            for (key, record), right in zip(found, run(check, keys, records), strict=True):
                if right:
                    sound.add(key)
                    self._counter.advance(record.size)
        lost = [key for key in objects if key not in sound and (named or key in present)]
        self.resumed += 0 if named else len(sound)
        self.repaired += len(lost)
        missing = [(key, record) for key, record in objects.items() if key not in sound]
        for documents in (True, False):  # some stores take no chunk without its document
            self._copy([one for one in missing if one[0].endswith("zarr.json") is documents], task)

    def _present(self, folder: str, *, named: bool) -> set[str]:
        """Keys below a revision's folder; where ``gc`` may remove them meanwhile, the young ones.

        An old one is written anew, which makes it young.
        """
        present = list(self._target.list(folder))
        if present and not named and not self._target.locks:
            young = self._target.now() - GRACE / 2
            present = [one for one in present if one.modified > young]
        return {one.key for one in present}

    def _copy(self, objects: Iterable[tuple[str, ObjectRecord]], task: str | None) -> None:
        locks = self._target.locks  # and its lock is this thread's: no other may write

        def one(key: str, record: ObjectRecord) -> tuple[str, bytes]:
            data = self._source.read(key, record, task)
            if not locks:
                self._target.put(key, data)
            return key, data

        with ThreadPoolExecutor(self._parallel) as pool:

            def start(item: tuple[str, ObjectRecord]) -> Callable[[], tuple[str, bytes]]:
                if self._parallel == 1:
                    return partial(one, *item)
                return pool.submit(one, *item).result

            try:
                for key, data in run_ahead(objects, start, lambda item: item[1].size):
                    if locks:
                        self._target.put(key, data)
                    self.objects += 1
                    self.bytes += len(data)
                    self._counter.advance(len(data))
            except BaseException:
                with suppress(Exception):
                    pool.shutdown(cancel_futures=True)
                raise
