"""Check everything that a bank's catalog reaches (container.md, "Verifying")."""

from __future__ import annotations

from .arrays import delta_document, extra_document, products_document
from .bank import Bank
from .documents import MARKER, Revision, Stored
from .invalid import Invalid, require
from .layout import Tensor, require_layout
from .products import CHUNK, DOCUMENT


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
        if revision.products:
            bank.store.checked(f"{bank.key(name)}/{CHUNK}", revision.objects[CHUNK])
        for number in range(len(revision.extras)):
            bank.read_extra(name, revision, number)
        for number, shard in enumerate(task.shards):
            if shard is not None:
                bank.store.checked(f"{bank.key(name)}/delta/c/{number}", shard)
        _check_entries(bank, name, revision)
    if bank.catalog.routers:
        _check_marker(bank, "routers/zarr.json")
    for name in bank.catalog.routers:
        _check_marker(bank, f"routers/{name}/zarr.json")
        _check_router(bank, name)


def _check_router(bank: Bank, name: str) -> None:
    """A router's arrays, their documents, and the size that the catalog states."""
    router, _ = bank.router(name)
    entry = bank.catalog.routers[name]
    folder = f"routers/{name}/{entry.revision.sha256}"
    _check_fixed(bank, folder, _extras_documents(router.extras), router.objects)
    total = entry.revision.size + sum(one.size for one in router.objects.values())
    require_layout(total == entry.stored_bytes, f"router {name!r} has {total} bytes")


def _check_totals(bank: Bank, name: str, revision: Revision) -> None:
    """The sums that the catalog states."""
    task = bank.catalog.tasks[name]
    stored = [task.revision, *revision.objects.values(), *filter(None, revision.shards)]
    kept = [unit for unit in bank.layout.units.values() if unit.name not in task.replaced]
    sums = (sum(one.size for one in stored), sum(one.size for one in (*kept, *revision.extras)))
    require_layout(sums == (task.stored_bytes, task.parameters), f"{name!r} sums up to {sums}")


def _check_entries(bank: Bank, name: str, revision: Revision) -> None:
    """Frames decode, unless they need the base; replaced units and products have none."""
    task = bank.catalog.tasks[name]
    products = [product.unit for product in revision.products]
    found = {unit: bank.nonzeros(name, unit) for unit in bank.layout.units}
    for unit in (*task.replaced, *products):
        require(found[unit] == 0, "address", f"{name!r} has {unit!r} otherwise, and has entries")
    for unit in products:
        bank.entries(name, unit)
    changed = {unit for unit, count in found.items() if count}
    same = revision.state is None or set(revision.state) == changed
    require_layout(same, f"the state of {name!r} is not of the units that it changes")
    total = sum(found.values()) + sum(bank.layout.units[unit].size for unit in products)
    require_layout(total == task.nonzeros, f"{name!r} has {total} non-zeros")


def _check_documents(bank: Bank, name: str, revision: Revision) -> None:
    """The zarr documents have the bytes that layout and extras call for."""
    expected = {"delta/zarr.json": delta_document(bank.layout, revision.element)}
    expected |= _extras_documents(revision.extras)
    if revision.products:
        expected[DOCUMENT] = products_document(revision.objects[CHUNK].size)
    _check_fixed(bank, bank.key(name), expected, revision.objects)


def _extras_documents(extras: list[Tensor]) -> dict[str, bytes]:
    expected = {"extras/zarr.json": MARKER} if extras else {}
    for number, extra in enumerate(extras):
        expected[f"extras/{number}/zarr.json"] = extra_document(extra)
    return expected


def _check_fixed(
    bank: Bank, folder: str, expected: dict[str, bytes], objects: dict[str, Stored]
) -> None:
    for key, data in expected.items():
        same = bank.store.checked(f"{folder}/{key}", objects[key]) == data
        require(same, "document-syntax", f"{folder}/{key} does not have the bytes it must have")


def _check_marker(bank: Bank, key: str) -> None:
    try:
        intact = bank.store.get(key, len(MARKER)) == MARKER
    except Invalid:
        intact = False
    require(intact, "marker", f"{key} is not the constant group document")
