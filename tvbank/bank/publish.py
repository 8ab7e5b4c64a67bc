"""Publishing: the root document is replaced, whole, if nobody else replaced it meanwhile."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from tvbank.bank.chains import ParentRecord, refuse_needed
from tvbank.bank.documents import (
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    CatalogEntry,
    RouterEntry,
    decode_root,
    encode_root,
    with_features,
)
from tvbank.bank.snapshot import find_task, read_root_to_change
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.errors import (
    BaseMismatchError,
    ConflictError,
    FormatError,
    RouterExistsError,
    StorageError,
    TaskExistsError,
    name_some,
)
from tvbank.layout import Layout
from tvbank.storage import LosesWritesError, ObjectNotFoundError, Storage

if TYPE_CHECKING:
    from tvbank.bank.writer import Prepared  # numba, which removing a task does not need

_log = logging.getLogger(__name__)

_TRIES = 100

#: Seconds of the first and of the longest pause before the catalog is read again after a conflict.
_PAUSE, _LONGEST_PAUSE = 0.02, 2.0

#: How often the catalog is read back until it is what was published.
_READS = 8

Tasks = dict[str, CatalogEntry]
Routers = dict[str, RouterEntry]


def publish_task(
    storage: Storage, layout: Layout, name: str, prepared: Prepared, *, replace: bool
) -> Catalog:
    """Write a revision's objects, then name it in the catalog.

    Where the store locks, other writers, ``gc`` among them, are kept out meanwhile; elsewhere the
    objects' youth keeps ``gc`` from taking them for garbage.

    Raises:
        TaskExistsError: the bank has a task of that name and ``replace`` is false.
        TaskNeededError: others start from the one that it would replace.
        ConflictError: its parent was replaced or removed meanwhile.
        BaseMismatchError: another bank took the place of the one it was compressed for.
        StorageError: the store refused; the catalog is what it was.
    """

    def edit(tasks: Tasks) -> Tasks:
        refuse_existing(tasks, name, replace=replace)
        refuse_needed(tasks, name, "give the new one another name, or remove those first")
        refuse_lost_parent(tasks, prepared.entry.parent)
        return {**tasks, name: prepared.entry}

    with storage.exclusive():
        current = read_root_to_publish(storage, layout)
        edit(current[0].tasks)
        sizes = put_prepared(storage, name, prepared)
        catalog = replace_root(storage, layout, edit, current=current, sizes=sizes)
    revision, size = prepared.entry.revision, sum(sizes.values())
    _log.info(
        "%s: published task %s, revision %s, %d bytes", storage.location, name, revision, size
    )
    return catalog


def put_prepared(storage: Storage, name: str, prepared: Prepared) -> dict[str, int]:
    """Write a revision's objects, which no catalog names yet; their keys and sizes.

    Raises:
        StorageError: the store refused.
    """
    revision = f"tasks/{name}/{prepared.entry.revision}"
    sizes = {f"{revision}/zarr.json": len(prepared.document)}
    for key, data in prepared.objects:
        storage.put(f"{revision}/{key}", data)
        sizes[f"{revision}/{key}"] = len(data)
    storage.put(f"{revision}/zarr.json", prepared.document)
    for marker in markers("tasks", [name]):
        storage.put(marker, MARKER)
    return sizes


def refuse_changed(tasks: Tasks, before: Mapping[str, CatalogEntry], named: Sequence[str]) -> None:
    """Refuse to edit a catalog whose tasks are not those any more that an edit was made for.

    Args:
        tasks: the newest.
        before: those that the edit was made for.
        named: tasks that it must know.

    Raises:
        ConflictError: names those that others have changed.
    """
    changed = [name for name, entry in before.items() if tasks.get(name) != entry]
    changed += [name for name in named if name not in before]
    if changed:
        raise ConflictError(
            f"{name_some(changed)} {'were' if len(changed) > 1 else 'was'} changed by another "
            "writer meanwhile: try again"
        )


def refuse_lost_parent(tasks: Tasks, parent: ParentRecord | None) -> None:
    """Refuse a task whose parent is not in the catalog any more as it was.

    Raises:
        ConflictError: it was replaced or removed.
    """
    if parent is not None and (
        parent.task not in tasks or tasks[parent.task].revision != parent.revision
    ):
        raise ConflictError(
            f"task {parent.task!r}, the parent, was replaced or removed by another writer: add the "
            "task again, with the parent that is there now"
        )


def read_root_to_publish(storage: Storage, layout: Layout) -> tuple[Catalog, str]:
    """As ``read_root_to_change``, if it is the catalog of the bank that a writer has opened.

    Raises:
        BaseMismatchError: another bank has taken its place.
        StorageError: the store refused, or does not keep writers from overwriting each other.
    """
    catalog, tag = read_root_to_change(storage)
    refuse_other_bank(storage, catalog, layout)
    kind = "routers" if catalog.routers and not catalog.tasks else "tasks"
    storage.prove(f"{kind}/zarr.json", MARKER, tag)
    return catalog, tag


def refuse_other_bank(storage: Storage, catalog: Catalog, layout: Layout) -> None:
    """Refuse the catalog of another bank than the one that was opened.

    Raises:
        BaseMismatchError: its layout is another.
    """
    if catalog.layout.sha256 != layout.sha256:
        raise BaseMismatchError(
            f"{storage.location}: another bank, of another base or with other chunks, has taken "
            "the place of the one that was opened: open it again"
        )


def refuse_existing(
    names: Collection[str], name: str, what: Literal["task", "router"] = "task", *, replace: bool
) -> None:
    """Refuse a name that is taken, or that folders which ignore case would take for another.

    Args:
        names: of the tasks or routers in the catalog.
        name: of the task or router to publish.
        what: which of the two it is.
        replace: whether it may replace one of that name.

    Raises:
        TaskExistsError, RouterExistsError: unless ``replace``, and in any case for a name that
            differs in case only.
    """
    kind = TaskExistsError if what == "task" else RouterExistsError
    for other in names:
        if other != name and other.lower() == name.lower():
            raise kind(
                f"the bank has a {what} {other!r}, from which {name!r} differs in case only: "
                "choose another name"
            )
    if name in names and not replace:
        raise kind(
            f"the bank already has a {what} {name!r}: remove it first, or add with "
            "replace=True (--replace)"
        )


def remove_task(storage: Storage, layout: Layout, name: str) -> Catalog:
    """Take a task out of the catalog; its objects stay until ``gc``.

    Raises:
        BaseMismatchError: another bank took the place of the one that was opened.
        TaskNotFoundError: the bank has no task of that name.
        TaskNeededError: others start from it.
    """

    def edit(tasks: Tasks) -> Tasks:
        find_task(storage, tasks, name)
        refuse_needed(
            tasks, name, "remove those first, or fold it into them with fold=True (`rm --fold`)"
        )
        return {other: entry for other, entry in tasks.items() if other != name}

    catalog = replace_root(storage, layout, edit)
    _log.info("%s: removed task %s", storage.location, name)
    return catalog


def replace_root(
    storage: Storage,
    layout: Layout,
    edit: Callable[[Tasks], Tasks] = dict,
    edit_routers: Callable[[Routers], Routers] = dict,
    current: tuple[Catalog, str] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> Catalog:
    """Read, edit, replace if unchanged; again, after a pause, if another writer was faster.

    Revisions that the new catalog no longer names are made young first, so that ``gc`` leaves them
    for a while to readers of the generation before.

    Args:
        storage: holds the bank.
        layout: of the bank that was opened.
        edit: makes the new tasks from the old ones.
        edit_routers: likewise.
        current: the catalog and its tag, if they were read just before.
        sizes: of the objects of a new revision: the catalog never names it without them.

    Raises:
        BaseMismatchError: another bank took the place of the one that was opened.
        ConflictError: others were faster every time.
        LosesWritesError: the store accepted the catalog and does not have it.
        StorageError: the store refused, or lacks objects that were written.
    """
    touched: set[str] = set()
    for tried in range(_TRIES):
        catalog, tag = current or read_root_to_publish(storage, layout)
        current = None
        edited = msgspec.structs.replace(
            catalog,
            tasks=edit(catalog.tasks),
            routers=edit_routers(catalog.routers),
            generation=catalog.generation + 1,
        )
        data = encode_root(with_features(edited))
        published = decode_root(data)  # never publish what cannot be read back
        documents, kept = revision_documents(catalog), revision_documents(edited)
        for document in documents.keys() - kept.keys() - touched:
            with suppress(ObjectNotFoundError):  # a damaged task can be removed, too
                storage.touch(document, documents[document])
            touched.add(document)
        if sizes:
            _refuse_missing(storage, sizes)
        try:
            storage.put_if_unchanged(ROOT, data, tag)
        except ConflictError:
            longest = min(_LONGEST_PAUSE, _PAUSE * 2 ** min(tried, 16))
            time.sleep(random.uniform(0, longest))  # all at once would meet again
            continue
        confirm(storage, data)
        return published
    raise ConflictError(
        f"{storage.location}: other writers published first, {_TRIES} times; try again"
    )


def _refuse_missing(storage: Storage, sizes: Mapping[str, int]) -> None:
    """Refuse to name a revision whose objects were moved or removed since they were written.

    Raises:
        StorageError: names one of them.
    """
    folder = "/".join(next(iter(sizes)).split("/")[:3])
    there = {found.key: found.size for found in storage.list(f"{folder}/")}
    for key, size in sizes.items():
        if there.get(key) != size:
            raise StorageError(
                f"{storage.location}: {key!r} is not there any more as it was just written: the "
                "bank was moved, replaced or collected meanwhile; open it again, and try again"
            )


def confirm(storage: Storage, data: bytes) -> None:
    """Read back the root document that was published, or a later one.

    A later one was made from it, and may lack on purpose what it had. Caches may answer with an
    older one for a moment.

    Raises:
        LosesWritesError: it is not there.
        StorageError: the store refused to be read; what was published is there, as far as it said.
    """
    generation = decode_root(data).generation
    for tried in range(_READS):
        with suppress(ObjectNotFoundError, FormatError):
            found = storage.get(ROOT, MAX_DOCUMENT_BYTES)
            if found == data or decode_root(found).generation > generation:
                return
            if decode_root(found).generation == generation:
                break  # another writer's, which no cache can have from before
        time.sleep(random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * 2**tried)))
    raise LosesWritesError(
        f"{storage.location}: the store accepted generation {generation} of the catalog and does "
        "not have it: it loses writes where writers meet, or the bank was moved or replaced. "
        "What was to be published may be lost: open the bank again, and see"
    )


def revision_documents(catalog: Catalog) -> dict[str, int]:
    """Keys and sizes of the documents of all revisions that a catalog names."""
    return {
        f"{kind}/{name}/{entry.revision}/zarr.json": entry.size
        for kind, named in (("tasks", catalog.tasks), ("routers", catalog.routers))
        for name, entry in named.items()
    }
