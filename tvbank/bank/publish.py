"""Publishing: the root document is replaced, whole, if nobody else replaced it meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from tvbank.bank.documents import (
    ROOT,
    Catalog,
    CatalogEntry,
    RouterEntry,
    decode_root,
    encode_root,
)
from tvbank.bank.snapshot import read_root_to_change
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.errors import ConflictError, RouterExistsError, TaskExistsError, TaskNotFoundError
from tvbank.storage import ObjectNotFoundError, Storage

if TYPE_CHECKING:
    from tvbank.bank.writer import Prepared  # numba, which removing a task does not need

_TRIES = 100

#: Seconds of the first and of the longest pause before the catalog is read again after a conflict.
_PAUSE, _LONGEST_PAUSE = 0.02, 2.0

Tasks = dict[str, CatalogEntry]
Routers = dict[str, RouterEntry]


def publish_task(storage: Storage, name: str, prepared: Prepared, *, replace: bool) -> Catalog:
    """Write a revision's objects, then name it in the catalog.

    Where the store locks, other writers, ``gc`` among them, are kept out meanwhile; elsewhere the
    objects' youth keeps ``gc`` from taking them for garbage.

    Raises:
        TaskExistsError: the bank has a task of that name and ``replace`` is false.
        StorageError: the store refused; the catalog is what it was.
    """

    def edit(tasks: Tasks) -> Tasks:
        refuse_existing(tasks, name, replace=replace)
        return {**tasks, name: prepared.entry}

    with storage.exclusive():
        current = read_root_to_change(storage)
        edit(current[0].tasks)
        revision = f"tasks/{name}/{prepared.entry.revision}"
        for key, data in prepared.objects:
            storage.put(f"{revision}/{key}", data)
        storage.put(f"{revision}/zarr.json", prepared.document)
        for marker in markers("tasks", [name]):
            storage.put(marker, MARKER)
        return replace_root(storage, edit, current=current)


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


def remove_task(storage: Storage, name: str) -> Catalog:
    """Take a task out of the catalog; its objects stay until ``gc``.

    Raises:
        TaskNotFoundError: the bank has no task of that name.
    """

    def edit(tasks: Tasks) -> Tasks:
        if name not in tasks:
            raise TaskNotFoundError(f"the bank has no task {name!r}")
        return {other: entry for other, entry in tasks.items() if other != name}

    return replace_root(storage, edit)


def replace_root(
    storage: Storage,
    edit: Callable[[Tasks], Tasks] = dict,
    edit_routers: Callable[[Routers], Routers] = dict,
    current: tuple[Catalog, str] | None = None,
) -> Catalog:
    """Read, edit, replace if unchanged; again, after a pause, if another writer was faster.

    Revisions that the new catalog no longer names are made young first, so that ``gc`` leaves them
    for a while to readers of the generation before.

    Args:
        storage: holds the bank.
        edit: makes the new tasks from the old ones.
        edit_routers: likewise.
        current: the catalog and its tag, if they were read just before.

    Raises:
        ConflictError: others were faster every time.
        StorageError: the store refused.
    """
    touched: set[str] = set()
    for tried in range(_TRIES):
        catalog, tag = current or read_root_to_change(storage)
        current = None
        edited = msgspec.structs.replace(
            catalog,
            tasks=edit(catalog.tasks),
            routers=edit_routers(catalog.routers),
            generation=catalog.generation + 1,
        )
        data = encode_root(edited)
        published = decode_root(data)  # never publish what cannot be read back
        documents, kept = revision_documents(catalog), revision_documents(edited)
        for document in documents.keys() - kept.keys() - touched:
            with suppress(ObjectNotFoundError):  # a damaged task can be removed, too
                storage.touch(document, documents[document])
            touched.add(document)
        try:
            storage.put_if_unchanged(ROOT, data, tag)
        except ConflictError:
            longest = min(_LONGEST_PAUSE, _PAUSE * 2 ** min(tried, 16))
            time.sleep(random.uniform(0, longest))  # all at once would meet again
            continue
        return published
    raise ConflictError(
        f"{storage.location}: other writers published first, {_TRIES} times; try again"
    )


def revision_documents(catalog: Catalog) -> dict[str, int]:
    """Keys and sizes of the documents of all revisions that a catalog names."""
    return {
        f"{kind}/{name}/{entry.revision}/zarr.json": entry.size
        for kind, named in (("tasks", catalog.tasks), ("routers", catalog.routers))
        for name, entry in named.items()
    }
