"""The objects that a bank's catalog reaches, with their sizes and digests."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tvbank.bank.documents import Catalog, CatalogEntry, ObjectRecord, check_stored
from tvbank.bank.routers import StoredRouter
from tvbank.bank.snapshot import read_layout, read_root
from tvbank.bank.task import Task
from tvbank.errors import CorruptionError, TaskNotFoundError
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage


@dataclass(frozen=True)
class Contents:
    """One generation of a bank, to be copied object by object."""

    storage: Storage
    catalog: Catalog
    layout: Layout

    def chosen(self, tasks: Iterable[str] | None) -> dict[str, CatalogEntry]:
        """The catalog's entries of some tasks, or of all.

        Raises:
            TaskNotFoundError: the bank has no such task.
        """
        names = sorted(self.catalog.tasks) if tasks is None else list(dict.fromkeys(tasks))
        for name in names:
            if name not in self.catalog.tasks:
                known = ", ".join(map(repr, sorted(self.catalog.tasks))) or "none yet"
                raise TaskNotFoundError(
                    f"{self.storage.location} has no task {name!r}; it has {known}"
                )
        return {name: self.catalog.tasks[name] for name in names}

    def objects(self, name: str) -> dict[str, ObjectRecord]:
        """All objects of a task's revision by their keys: documents first, its own last.

        Raises:
            CorruptionError: the revision document is missing or damaged.
        """
        entry = self.catalog.tasks[name]
        task = Task(self.storage, self.layout, self.catalog.layout.sha256, name, entry)
        folder = f"tasks/{name}/{entry.revision}"
        objects = sorted(
            task.document.objects.items(), key=lambda one: not one[0].endswith("zarr.json")
        )
        found = {f"{folder}/{key}": record for key, record in objects}
        for number, shard in enumerate(entry.shards):
            if shard is not None:
                found[f"{folder}/delta/c/{number}"] = shard
        return found | {f"{folder}/zarr.json": ObjectRecord(entry.size, entry.revision)}

    def routers(self, tasks: Collection[str]) -> dict[str, StoredRouter]:
        """The routers that know no other tasks than these.

        Raises:
            CorruptionError: a router's document is missing or damaged.
        """
        found = {
            name: StoredRouter(self.storage, self.catalog, name)
            for name in sorted(self.catalog.routers)
        }
        return {name: each for name, each in found.items() if set(each.tasks) <= set(tasks)}

    def read(self, key: str, record: ObjectRecord, task: str | None = None) -> bytes:
        """An object, if it is what was recorded.

        Raises:
            CorruptionError: it is missing or damaged.
        """
        try:
            return check_stored(self.storage.get(key, record.size), record, key, task)
        except ObjectNotFoundError as error:
            raise CorruptionError(
                "object-missing",
                f"{self.storage.location}: {key} is missing from the bank (or was removed since "
                "it was opened: try again)",
                key=key, task=task,
            ) from error  # fmt: skip


def contents_of(storage: Storage) -> Contents:
    """The newest generation of a bank: two requests.

    Raises:
        BankNotFoundError, CorruptionError, UnsupportedError: see ``read_root``.
    """
    catalog = read_root(storage)[0]
    return Contents(storage, catalog, read_layout(storage, catalog))
