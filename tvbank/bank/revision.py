"""Reads a task's revision document, and holds it against the catalog and the layout."""

from __future__ import annotations

from tvbank.bank.documents import CatalogEntry, ObjectRecord, Revision, decode_revision
from tvbank.bank.extras import check_extras
from tvbank.bank.products import check_revision
from tvbank.bank.proved import check_state
from tvbank.bank.snapshot import read_stored
from tvbank.errors import CorruptionError, FormatError
from tvbank.layout import Layout
from tvbank.storage import Storage


def read_revision(storage: Storage, layout: Layout, task: str, entry: CatalogEntry) -> Revision:
    """The revision document of a task, of which the catalog has this entry.

    Raises:
        CorruptionError: it is missing, damaged, or contradicts the catalog or the layout.
    """
    key = f"tasks/{task}/{entry.revision}/zarr.json"
    data = read_stored(storage, key, ObjectRecord(entry.size, entry.revision), task)
    revision = decode_revision(data, key, task)
    if _stated(revision, layout) != _agreed(entry) or revision.layout != layout.sha256:
        raise CorruptionError(
            "layout", f"task {task!r}: {key} contradicts the catalog", key=key, task=task
        )
    try:
        check_revision(layout, revision)
        check_state(layout, revision)
    except FormatError as error:
        raise CorruptionError(
            error.reason, f"task {task!r}: {key}: {error}", key=key, task=task
        ) from error
    check_extras(revision, key, task)
    return revision


def _stated(revision: Revision, layout: Layout) -> tuple[object, ...]:
    """The members of a catalog entry that the revision document states as well."""
    replaced = tuple(extra.name for extra in revision.extras if extra.name in layout.by_name)
    return (
        revision.element, revision.shards, revision.nonzeros, replaced, revision.compressor,
        revision.features, revision.parent,
    )  # fmt: skip


def _agreed(entry: CatalogEntry) -> tuple[object, ...]:
    return (
        entry.element, entry.shards, entry.nonzeros, entry.replaced, entry.compressor,
        entry.features, entry.parent,
    )  # fmt: skip
