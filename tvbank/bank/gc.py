"""Garbage collection: removing the objects that no catalog names."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from tvbank.bank.snapshot import read_root_to_change
from tvbank.bank.storage import ObjectNotFoundError, Storage

_TEMPORARY = re.compile(r"\.tmp-[0-9a-f]+\Z")


@dataclass(frozen=True)
class GcReport:
    """What ``gc`` removed: a number of objects and their bytes."""

    objects: int
    bytes: int


def collect_garbage(storage: Storage) -> GcReport:
    """Remove removed and replaced revisions, and what killed writers left.

    Only tasks and temporary files are looked at: what else lies in the folder, such as a checkpoint
    that someone put there, is not the bank's.

    Other writers are kept out meanwhile: whatever is not published by now never will be.
    A reader that opened the bank before a task was removed gets an error when it reads that task.

    Raises:
        StorageError: the store refused; what is named by the catalog is untouched in any case.
    """
    with storage.exclusive():
        tasks = read_root_to_change(storage)[0].tasks
        markers = {"tasks/zarr.json", *(f"tasks/{name}/zarr.json" for name in tasks)}
        live = {(name, entry.revision) for name, entry in tasks.items()}
        objects = size = 0
        for found in list(storage.list()):
            parts = found.key.split("/")
            of_a_task = len(parts) > 3 and (parts[1], parts[2]) in live
            named = of_a_task or (bool(tasks) and found.key in markers)
            if _TEMPORARY.search(found.key) or (parts[0] == "tasks" and not named):
                with suppress(ObjectNotFoundError):
                    storage.delete(found.key)
                    objects, size = objects + 1, size + found.size
        storage.tidy("tasks")
        return GcReport(objects, size)
