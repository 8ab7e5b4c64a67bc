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
    _check_marker(bank, "tasks/zarr.json")
    for name, task in bank.catalog.tasks.items():
        _check_marker(bank, f"tasks/{name}/zarr.json")
        revision = bank.revision(name)
        stored = [task.revision, *revision.objects.values(), *filter(None, revision.shards)]
        total = sum(one.size for one in stored)
        require_layout(total == task.stored_bytes, f"{name!r} has {total} stored bytes")
        _check_documents(bank, name, revision)
        for number in range(len(revision.extras)):
            bank.read_extra(name, revision, number)
        for number, shard in enumerate(task.shards):
            if shard is not None:
                bank.store.checked(f"{bank.key(name)}/delta/c/{number}", shard)
        found = sum(len(bank.entries(name, unit).positions) for unit in bank.layout.units)
        require_layout(found == task.nonzeros, f"{name!r} has {found} non-zeros")


def _check_documents(bank: Bank, name: str, revision: Revision) -> None:
    """The zarr documents have the bytes that layout and extras call for."""
    expected = {"delta/zarr.json": delta_document(bank.layout, revision.element)}
    for number, extra in enumerate(revision.extras):
        expected[f"extras/{number}/zarr.json"] = extra_document(extra)
    if revision.extras:
        expected["extras/zarr.json"] = MARKER
    for key, data in expected.items():
        found = bank.store.checked(f"{bank.key(name)}/{key}", revision.objects[key])
        reason = "marker" if data == MARKER else "document-syntax"
        require(found == data, reason, f"{name!r}: {key} does not have the bytes it must have")


def _check_marker(bank: Bank, key: str) -> None:
    try:
        intact = bank.store.get(key, len(MARKER)) == MARKER
    except Invalid:
        intact = False
    require(intact, "marker", f"{key} is not the constant group document")
