"""Garbage collection: removing the objects that no catalog names."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from tvbank.bank.base_location import KEY as BASE_LOCATION
from tvbank.bank.documents import LAYOUT, ROOT
from tvbank.bank.snapshot import read_root
from tvbank.bank.storage import ObjectNotFoundError, Storage

_TEMPORARY = ".tmp-"


@dataclass(frozen=True)
class GcReport:
    """What ``gc`` removed: a number of objects and their bytes."""

    objects: int
    bytes: int


def collect_garbage(storage: Storage) -> GcReport:
    """Remove removed and replaced revisions, and what killed writers left.

    Other writers are kept out meanwhile: whatever is not published by now never will be.
    A reader that opened the bank before a task was removed gets an error when it reads that task.

    Raises:
        StorageError: the store refused; what is named by the catalog is untouched in any case.
    """
    with storage.exclusive():
        tasks = read_root(storage)[0].tasks
        keep = {ROOT, LAYOUT, BASE_LOCATION}
        if tasks:
            keep |= {"tasks/zarr.json", *(f"tasks/{name}/zarr.json" for name in tasks)}
        live = {(name, entry.revision) for name, entry in tasks.items()}
        objects = size = 0
        for found in list(storage.list()):
            parts = found.key.split("/")
            named = found.key in keep or (len(parts) > 3 and (parts[1], parts[2]) in live)
            if not named or _TEMPORARY in parts[-1]:
                with suppress(ObjectNotFoundError):
                    storage.delete(found.key)
                    objects, size = objects + 1, size + found.size
        storage.tidy()
        return GcReport(objects, size)
