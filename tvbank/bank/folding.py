"""Steps of several tasks folded into one: a task without its parent, a parent into its children.

The weights that a task stands for stay what they are, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tvbank.bank.ahead import all_cores
from tvbank.bank.chains import ParentRecord, ancestors, children
from tvbank.bank.documents import Catalog, CatalogEntry, encode_document, record_of
from tvbank.bank.encoder import encode_chunk
from tvbank.bank.frames import StoredFrame
from tvbank.bank.proved import state_after
from tvbank.bank.publish import put_prepared, refuse_changed, replace_root
from tvbank.bank.snapshot import find_task, read_root_to_change
from tvbank.bank.starting import ParentState
from tvbank.bank.task import Task
from tvbank.bank.writer import Prepared, RevisionWriter, Spool
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.coding.header import GIVEN_BASE
from tvbank.compress import Exact
from tvbank.layout import Layout, UnitRecord
from tvbank.naming import Names
from tvbank.storage import MemoryStorage, Storage
from tvbank.vector import BaseModel

#: Gives the base's weights of a unit, flat.
Weights = Callable[[str], NDArray[Any]]

#: Frames that are decoded and encoded at the same time.
_TOGETHER = 64


def fold(
    layout: Layout,
    task: Task,
    spool: Spool,
    parent: ParentRecord | None,
    pool: Executor,
    weights: Weights | None = None,
    *,
    standalone: bool = False,
) -> Prepared:
    """One revision whose own steps are those of a whole lineage.

    If ``weights`` are there, frames are given them where that is smaller and ``standalone`` is not
    asked for; otherwise they need no base to be read.

    Args:
        layout: of the bank.
        task: with the lineage to fold.
        spool: receives the objects.
        parent: from whose state that lineage leads; None for the base.
        pool: threads to work on.
        weights: the weights of a unit that the lineage starts from, [size], for a task that needs
            them.
        standalone: whether the frames are to need no base.

    Raises:
        CorruptionError: what is stored is missing or damaged.
        BaseNeededError: the task needs the base, and there is none.
    """
    task = task.by_shard()
    writer = RevisionWriter(layout, "int32", spool, parent)
    for name in task.extras:
        writer.keep_whole(task.extras.record(name), task.extras.chunks(name))
    covered = sum(unit.size for unit in layout.units if unit.name in task)
    frames = _frames(layout, task, pool, weights, standalone)
    state = state_after(task.lineage)
    return writer.finish(frames, covered, task.compressor, task.metadata, state=state)


def _frames(
    layout: Layout, task: Task, pool: Executor, weights: Weights | None, standalone: bool
) -> Iterator[tuple[int, bytes]]:
    """Number of the chunk, and frame, of every chunk that is not zero."""
    given = weights if task.needs_base else None

    def encode(base: NDArray[Any] | None, frame: StoredFrame) -> tuple[int, bytes]:
        block = None if base is None else base[frame.first : frame.first + layout.chunk_length]
        positions, steps = task.decode(frame, block)
        dense = np.zeros(layout.chunk_length, np.int32)
        dense[positions] = steps
        return _encode(layout, frame.unit, frame.first, dense, None if standalone else base)

    for unit in layout.units:
        frames = task.frames(unit.name) if unit.name in task else iter(())
        base = None
        while some := list(islice(frames, _TOGETHER)):
            if base is None and given is not None:
                base = given(unit.name)
            yield from pool.map(partial(encode, base), some)


def _encode(
    layout: Layout,
    unit: UnitRecord,
    first: int,
    dense: NDArray[Any],
    base: NDArray[Any] | None,
) -> tuple[int, bytes]:
    chunk = (unit.offset + first) // layout.chunk_length

    def entries(start: int, stop: int) -> NDArray[Any]:
        return dense[: stop - start]

    return chunk, encode_chunk(layout, unit, entries, chunk, Exact.frame_version, base)


def folded(task: Task, layout: Layout, weights: Weights | None = None) -> Task:
    """A task in memory with the same weights, whose steps lead from the base.

    Its entries need no base, if ``weights`` gives the base's weights of a unit, [size].

    Raises:
        BaseNeededError: the task needs the base, and there is none.
        CorruptionError: what is stored is missing or damaged.
    """
    storage = MemoryStorage()
    with Spool() as spool, all_cores() as pool:
        prepared = fold(layout, task, spool, None, pool, weights, standalone=True)
        put_prepared(storage, task.name, prepared)
    return Task(storage, layout, task.name, prepared.entry)


def remove_folded(
    storage: Storage,
    layout: Layout,
    name: str,
    base: Callable[[], CheckpointSource],
    names: Names | None = None,
) -> Catalog:
    """Take a task out of the catalog, its steps folded into those of the tasks that start from it.

    Their revisions change, so those that start from them are written anew, too: with the same
    objects, but for the document that names the parent. All appear at once.

    Args:
        storage: holds the bank.
        layout: of the bank.
        name: of the task.
        base: says where the base's weights are; asked only if entries are given what they start
            from.
        names: what they call each of the bank's names, if no way is found.

    Raises:
        TaskNotFoundError: the bank has no task of that name.
        ConflictError: tasks of the chain were changed meanwhile.
        CorruptionError: what is stored is missing or damaged.
    """
    with ExitStack() as stack, all_cores() as pool:
        stack.enter_context(storage.exclusive())
        tasks = read_root_to_change(storage)[0].tasks
        find_task(storage, tasks, name)
        entries: dict[str, CatalogEntry] = {}
        weights: Weights | None = None
        if any(GIVEN_BASE in tasks[each].features for each in (name, *children(tasks, name))):
            checkpoint = stack.enter_context(borrow_checkpoint(base()))
            model = BaseModel(layout, checkpoint, names=names)
            weights = _start_of(storage, layout, tasks, name, model, pool)
        for child in children(tasks, name):
            both = Task(storage, layout, child, tasks[child], ancestors={name: tasks[name]})
            spool = stack.enter_context(Spool())
            prepared = fold(layout, both, spool, tasks[name].parent, pool, weights)
            put_prepared(storage, child, prepared)
            entries[child] = prepared.entry
            _follow(storage, layout, tasks, child, entries)
        before = {each: tasks[each] for each in (name, *entries)}

        def edit(newest: dict[str, CatalogEntry]) -> dict[str, CatalogEntry]:
            refuse_changed(newest, before, children(newest, name))
            return {n: entries.get(n, entry) for n, entry in newest.items() if n != name}

        return replace_root(storage, layout, edit)


def _start_of(
    storage: Storage,
    layout: Layout,
    tasks: Mapping[str, CatalogEntry],
    name: str,
    base: BaseModel,
    pool: Executor,
) -> Weights:
    """What the entries of a task start from: its parent's weights, or the base's."""
    if tasks[name].parent is None:
        return lambda unit: base.read(unit).reshape(-1)
    *above, parent = ancestors(tasks, name)
    entries = {each: tasks[each] for each in above}
    task = Task(storage, layout, parent, tasks[parent], ancestors=entries)
    state = ParentState(base, task, pool)
    return lambda unit: state.read_unchecked(unit).reshape(-1)


def _follow(
    storage: Storage,
    layout: Layout,
    tasks: Mapping[str, CatalogEntry],
    parent: str,
    entries: dict[str, CatalogEntry],
) -> None:
    """Write those that start from a task, whose revision is another now, with its new name."""
    for name in children(tasks, parent):
        old = Task(storage, layout, name, tasks[name])
        named = ParentRecord(parent, entries[parent].revision)
        document = encode_document(msgspec.structs.replace(old.document, parent=named))
        record = record_of(document)
        target = f"tasks/{name}/{record.sha256}"
        for key, data in old.objects():
            storage.put(f"{target}/{key}", data)
        storage.put(f"{target}/zarr.json", document)
        entries[name] = msgspec.structs.replace(
            tasks[name], revision=record.sha256, size=record.size, parent=named,
            stored_bytes=tasks[name].stored_bytes - tasks[name].size + record.size,
        )  # fmt: skip
        _follow(storage, layout, tasks, name, entries)
