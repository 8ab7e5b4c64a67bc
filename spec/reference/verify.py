"""Check everything that a bank's catalog reaches (container.md, "Verifying")."""

from __future__ import annotations

from .arrays import delta_document, extra_document
from .bank import Bank
from .documents import MARKER, Revision
from .invalid import Invalid, require
from .layout import require_layout


def verify(bank: Bank) -> None:
    """Read every object of every task.

    Raises:
        Invalid: for the first fault.
    """
    if bank.catalog.tasks:
        _check_marker(bank, "tasks/zarr.json")
    for name, task in bank.catalog.tasks.items():
        _check_marker(bank, f"tasks/{name}/zarr.json")
        revision = bank.revision(name)
        _check_totals(bank, name, revision)
        _check_documents(bank, name, revision)
        for number in range(len(revision.extras)):
            bank.read_extra(name, revision, number)
        for number, shard in enumerate(task.shards):
            if shard is not None:
                bank.store.checked(f"{bank.key(name)}/delta/c/{number}", shard)
        _check_entries(bank, name)


def _check_totals(bank: Bank, name: str, revision: Revision) -> None:
    """The sums that the catalog states."""
    task = bank.catalog.tasks[name]
    stored = [task.revision, *revision.objects.values(), *filter(None, revision.shards)]
    kept = [unit for unit in bank.layout.units.values() if unit.name not in task.replaced]
    sums = (sum(one.size for one in stored), sum(one.size for one in (*kept, *revision.extras)))
    require_layout(sums == (task.stored_bytes, task.parameters), f"{name!r} sums up to {sums}")


def _check_entries(bank: Bank, name: str) -> None:
    """All frames decode; replaced units have no entries."""
    task = bank.catalog.tasks[name]
    found = {unit: len(bank.entries(name, unit).positions) for unit in bank.layout.units}
    for unit in task.replaced:
        require(found[unit] == 0, "address", f"{name!r} replaces unit {unit!r} and has entries")
    total = sum(found.values())
    require_layout(total == task.nonzeros, f"{name!r} has {total} non-zeros")


def _check_documents(bank: Bank, name: str, revision: Revision) -> None:
    """The zarr documents have the bytes that layout and extras call for."""
    expected = {"delta/zarr.json": delta_document(bank.layout, revision.element)}
    for number, extra in enumerate(revision.extras):
        expected[f"extras/{number}/zarr.json"] = extra_document(extra)
    if revision.extras:
        expected["extras/zarr.json"] = MARKER
    for key, data in expected.items():
        found = bank.store.checked(f"{bank.key(name)}/{key}", revision.objects[key])
        same = found == data
        require(same, "document-syntax", f"{name!r}: {key} does not have the bytes it must have")


def _check_marker(bank: Bank, key: str) -> None:
    try:
        intact = bank.store.get(key, len(MARKER)) == MARKER
    except Invalid:
        intact = False
    require(intact, "marker", f"{key} is not the constant group document")
