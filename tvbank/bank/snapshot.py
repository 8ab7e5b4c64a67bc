"""One generation of a bank: the two documents that are read to open it."""

from __future__ import annotations

from tvbank.bank.documents import (
    FORMAT,
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    check_stored,
    decode_layout,
    decode_root,
)
from tvbank.bank.shard import index_bytes
from tvbank.errors import BankNotFoundError, CorruptionError, FormatError, UnsupportedError
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage


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
        ) from error
    return decode_root(data), tag


def read_root_to_change(storage: Storage) -> tuple[Catalog, str]:
    """As ``read_root``, for who will replace the catalog or remove objects.

    Raises:
        UnsupportedError: also for a later minor version, of which this writer would drop what it
            does not know.
    """
    catalog, tag = read_root(storage)
    refuse_later_minor(storage, catalog)
    return catalog, tag


def refuse_later_minor(storage: Storage, catalog: Catalog) -> None:
    """Refuse to change what only a later tvbank knows whole.

    Raises:
        UnsupportedError: the catalog has a later minor version.
    """
    if catalog.format != FORMAT:
        raise UnsupportedError(
            "version",
            f"{storage.location} has format {catalog.format}, which this tvbank can read but not "
            f"change, since it writes {FORMAT}: install a newer tvbank",
        )


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
    try:
        data = storage.get(LAYOUT, catalog.layout.size)
    except ObjectNotFoundError as error:
        raise CorruptionError(
            "document-missing", f"{LAYOUT} is missing from the bank", key=LAYOUT
        ) from error
    check_stored(data, catalog.layout, LAYOUT)
    try:
        layout = decode_layout(data)
    except CorruptionError:
        raise
    except FormatError as error:
        raise CorruptionError(error.reason, f"{LAYOUT}: {error}", key=LAYOUT) from error
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
    return layout
