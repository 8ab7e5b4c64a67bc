"""One generation of a bank: its two documents, and the objects whose digests they record."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping

from tvbank.bank.documents import (
    FEATURED_FORMAT,
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    CatalogEntry,
    ObjectRecord,
    decode_layout,
    decode_root,
    is_written,
)
from tvbank.bank.shard import index_bytes
from tvbank.errors import (
    BankNotFoundError,
    CorruptionError,
    FormatError,
    StorageError,
    TaskNotFoundError,
    UnsupportedError,
)
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage

_log = logging.getLogger(__name__)


def read_root(storage: Storage) -> tuple[Catalog, str]:
    """The catalog and the tag under which the store holds it.

    Raises:
        BankNotFoundError: there is no bank.
        CorruptionError, UnsupportedError: see ``decode_root``.
    """
    try:
        data, tag = storage.get_tagged(ROOT, MAX_DOCUMENT_BYTES)
    except ObjectNotFoundError as error:
        raise BankNotFoundError(
            f"{storage.location} is not a bank: it has no {ROOT}; make one with `tvbank init`"
            + (
                f" (it has {LAYOUT}: if {ROOT} was lost, `tvbank repair` makes it anew)"
                if _has(storage, LAYOUT)
                else ""
            )
        ) from error
    try:
        catalog = decode_root(data)
    except CorruptionError as error:
        raise CorruptionError(
            error.reason,
            f"{error}; `tvbank repair {storage.location}` restores what can be proved",
            key=ROOT, task=error.task,
        ) from error  # fmt: skip
    _log.debug("%s: read the catalog, generation %d", storage.location, catalog.generation)
    return catalog, tag


def read_root_if_changed(storage: Storage, tag: str | None) -> tuple[Catalog, str] | None:
    """The catalog and its tag; None if the store still holds the one with a tag.

    Raises:
        BankNotFoundError, CorruptionError, UnsupportedError: as ``read_root``.
    """
    if tag is None:
        return read_root(storage)
    try:
        answer = storage.get_if_changed(ROOT, tag, MAX_DOCUMENT_BYTES)
    except ObjectNotFoundError:
        return read_root(storage)  # which says so
    return None if answer is None else (decode_root(answer[0]), answer[1])


def _has(storage: Storage, key: str) -> bool:
    try:
        storage.get(key, 0)
    except (ObjectNotFoundError, StorageError):
        return False
    return True


def read_root_to_change(storage: Storage) -> tuple[Catalog, str]:
    """As ``read_root``, before the catalog is replaced or objects are removed.

    Raises:
        UnsupportedError: also for a later minor version, of which this writer would drop what it
            does not know.
    """
    catalog, tag = read_root(storage)
    refuse_later_minor(storage, catalog)
    return catalog, tag


def refuse_later_minor(storage: Storage, catalog: Catalog) -> None:
    """Refuse to change a bank of which only a later tvbank knows everything.

    Raises:
        UnsupportedError: the catalog has a later minor version.
    """
    if not is_written(catalog.format):
        raise UnsupportedError(
            "version",
            f"{storage.location} has format {catalog.format}, which this tvbank can read but not "
            f"change, since it writes {FEATURED_FORMAT}: install a newer tvbank",
        )


def find_task(storage: Storage, tasks: Mapping[str, CatalogEntry], name: str) -> CatalogEntry:
    """What the catalog says of a task.

    Raises:
        TaskNotFoundError: the bank has no task of that name; names those it has.
    """
    try:
        return tasks[name]
    except KeyError:
        known = ", ".join(map(repr, sorted(tasks))) or "none yet"
        raise TaskNotFoundError(
            f"{storage.location} has no task {name!r}; it has {known}"
        ) from None


def read_layout(storage: Storage, catalog: Catalog) -> Layout:
    """Read the layout document and check it against the catalog.

    Raises:
        CorruptionError: it is missing or damaged, or contradicts itself or the catalog.
    """
    if catalog.layout.size > MAX_DOCUMENT_BYTES:
        raise CorruptionError(
            "limit", f"{LAYOUT} has {catalog.layout.size} bytes, over {MAX_DOCUMENT_BYTES}",
            key=LAYOUT,
        )  # fmt: skip
    data = read_stored(storage, LAYOUT, catalog.layout)
    try:
        layout = decode_layout(data)
    except CorruptionError:
        raise
    except FormatError as error:
        raise CorruptionError(error.reason, f"{LAYOUT}: {error}", key=LAYOUT) from error
    check_shards(catalog, layout)
    return layout


def check_shards(catalog: Catalog, layout: Layout) -> None:
    """Compare the shards of a catalog's tasks with what the layout calls for.

    Raises:
        CorruptionError: ``layout``; names the task.
    """
    for name, entry in catalog.tasks.items():
        if len(entry.shards) != layout.shard_count:
            raise CorruptionError(
                "layout",
                f"task {name!r} has {len(entry.shards)} shards, the layout {layout.shard_count}",
                key=ROOT, task=name,
            )  # fmt: skip
        index = index_bytes(layout.chunks_per_shard)
        if any(shard is not None and shard.size <= index for shard in entry.shards):
            raise CorruptionError(
                "layout", f"task {name!r} has a shard no larger than its index", key=ROOT, task=name
            )


def read_stored(storage: Storage, key: str, record: ObjectRecord, task: str | None = None) -> bytes:
    """Read a whole object, and check that it is what was recorded.

    Args:
        storage: holds the bank.
        key: of the object.
        record: its size and digest.
        task: the task that it belongs to, for errors.

    Raises:
        CorruptionError: ``document-missing``, ``document-size`` or ``document-digest`` for JSON
            documents; ``object-missing``, ``object-size`` or ``object-digest`` for others.
    """
    try:
        data = storage.get(key, record.size)
    except ObjectNotFoundError as error:
        raise missing(key, task) from error
    check_size(data, key, record, task)
    check_digest(data, key, record, task)
    return data


def check_size(data: bytes, key: str, record: ObjectRecord, task: str | None = None) -> None:
    """Compare the size of a whole object with the one recorded; arguments as ``read_stored``.

    Raises:
        CorruptionError: ``document-size`` or ``object-size``.
    """
    if len(data) != record.size:
        length = str(len(data)) if len(data) <= record.size else f"more than {record.size}"
        raise CorruptionError(
            f"{_kind(key)}-size",
            f"{_whose(task)}{key} has {length} bytes, the bank recorded {record.size}"
            f"{_remedy(key)}",
            key=key, task=task, start=0, stop=len(data),
        )  # fmt: skip


def check_digest(
    data: bytes,
    key: str,
    record: ObjectRecord,
    task: str | None = None,
    damage: Callable[[], str] | None = None,
) -> None:
    """Compare the SHA-256 of a whole object with the one recorded; arguments as ``read_stored``.

    Args:
        data: the object.
        key: its key.
        record: what the catalog or a document says of it.
        task: whose it is.
        damage: looks which part is damaged, as the end of the message.

    Raises:
        CorruptionError: ``document-digest`` or ``object-digest``.
    """
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise CorruptionError(
            f"{_kind(key)}-digest",
            f"{_whose(task)}{key} (bytes 0 to {len(data)}) is damaged: its SHA-256 is another"
            f"{damage() if damage else ''}{_remedy(key)}",
            key=key, task=task, start=0, stop=len(data),
        )  # fmt: skip


def missing(key: str, task: str | None = None) -> CorruptionError:
    """The error for an object that the catalog or a document names and the store lacks."""
    return CorruptionError(
        f"{_kind(key)}-missing",
        f"{_whose(task)}{key} is missing from the bank (or was removed since the bank was opened: "
        f"open it again){_remedy(key)}",
        key=key, task=task,
    )  # fmt: skip


def _whose(task: str | None) -> str:
    return f"task {task!r}: " if task else ""


def _remedy(key: str) -> str:
    """Where the bytes of a damaged or lost object may be found, as the end of a message."""
    copied = "take it from a copy of the bank (`tvbank cp COPY BANK --replace`)"
    if _kind(key) != "document":
        return f"; {copied}, or add it again"
    if key == LAYOUT:
        copied = "`tvbank repair --base FILE` makes it of the base's weights"
    return f"; `tvbank repair` restores it if another tool rewrote it, else {copied}"


def _kind(key: str) -> str:
    return "document" if key.endswith("zarr.json") else "object"
