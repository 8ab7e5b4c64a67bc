"""One generation of a bank: what its catalog and layout reach, task by task, object by object."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tvbank.bank.chains import ancestors as ancestors_of
from tvbank.bank.chains import with_ancestors
from tvbank.bank.documents import Catalog, CatalogEntry, ObjectRecord, documents_first
from tvbank.bank.placing import is_sound
from tvbank.bank.routers import StoredRouter
from tvbank.bank.snapshot import find_task, read_layout, read_root, read_stored
from tvbank.bank.task import Task
from tvbank.errors import CorruptionError
from tvbank.layout import Layout
from tvbank.storage import Storage


@dataclass(frozen=True)
class Contents:
    """One generation of a bank: its tasks, and the objects of each."""

    storage: Storage
    catalog: Catalog
    layout: Layout

    def chosen(self, tasks: Iterable[str] | None) -> dict[str, CatalogEntry]:
        """The catalog's entries of some tasks and of all their ancestors, or of all tasks.

        Each comes after the one that it starts from.

        Raises:
            TaskNotFoundError: the bank has no such task.
        """
        names = sorted(self.catalog.tasks) if tasks is None else list(dict.fromkeys(tasks))
        for name in names:
            find_task(self.storage, self.catalog.tasks, name)
        return with_ancestors(self.catalog.tasks, names)

    def task(self, name: str) -> Task:
        """A task, with those that it starts from.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        entry = find_task(self.storage, self.catalog.tasks, name)
        ancestors = {
            each: self.catalog.tasks[each] for each in ancestors_of(self.catalog.tasks, name)
        }
        return Task(self.storage, self.layout, name, entry, ancestors=ancestors)

    def objects(self, name: str) -> dict[str, ObjectRecord]:
        """All objects of a task's revision by their keys: documents first, its own last.

        Raises:
            CorruptionError: the revision document is missing or damaged.
        """
        entry = self.catalog.tasks[name]
        task = Task(self.storage, self.layout, name, entry)
        folder = f"tasks/{name}/{entry.revision}"
        objects = documents_first(task.document.objects)
        records = {f"{folder}/{key}": record for key, record in objects}
        for number, shard in enumerate(entry.shards):
            if shard is not None:
                records[f"{folder}/delta/c/{number}"] = shard
        return records | {f"{folder}/zarr.json": ObjectRecord(entry.size, entry.revision)}

    def is_sound(self, name: str) -> bool:
        """Whether every object of a task has its size and digest; all of them are read."""
        try:
            objects = self.objects(name)
        except CorruptionError:
            return False
        return all(is_sound(self.storage, key, record) for key, record in objects.items())

    def routers(self, tasks: Collection[str]) -> dict[str, StoredRouter]:
        """The routers that know no other tasks than these.

        Raises:
            CorruptionError: a router's document is missing or damaged.
        """
        routers = {
            name: StoredRouter(self.storage, self.catalog, name)
            for name in sorted(self.catalog.routers)
        }
        return {name: router for name, router in routers.items() if set(router.tasks) <= set(tasks)}

    def read(self, key: str, record: ObjectRecord, task: str | None = None) -> bytes:
        """An object, if it is what was recorded; see ``read_stored``."""
        return read_stored(self.storage, key, record, task)


def contents_of(storage: Storage) -> Contents:
    """The newest generation of a bank: two requests.

    Raises:
        BankNotFoundError, CorruptionError, UnsupportedError: see ``read_root``.
    """
    catalog = read_root(storage)[0]
    return Contents(storage, catalog, read_layout(storage, catalog))
