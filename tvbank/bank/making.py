"""Making an empty bank: the layout, then the first root document, once in a place.

A bank does not hold the base. ``add`` needs it, so ``create`` notes the path it was given, as the
attributes of a plain group (spec/container.md, "The location of the base"); readers ignore it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from tvbank.bank.documents import (
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    decode_document,
    decode_layout,
    empty_catalog,
    encode_document,
    encode_root,
)
from tvbank.bank.publish import confirm
from tvbank.checkpoint import CheckpointSource
from tvbank.errors import (
    BankExistsError,
    ConflictError,
    CorruptionError,
    FormatError,
    StorageError,
    UsageError,
)
from tvbank.layout import Digest
from tvbank.storage import LosesWritesError, ObjectNotFoundError, Storage

#: The note of the path of the base's weights.
BASE_LOCATION = "base/location/zarr.json"


class _Location(msgspec.Struct, frozen=True):
    """An absolute path and the SHA-256 of its UTF-8 bytes."""

    path: str
    sha256: Digest


def make_bank(storage: Storage, layout: bytes, note: Callable[[], None] = lambda: None) -> None:
    """Write a layout document, and a root document without tasks.

    Args:
        storage: an empty place.
        layout: the layout document.
        note: writes further objects, before the root document.

    Raises:
        BankExistsError: there is a bank, or something else, at that place.
        StorageError: the store refused.
    """
    decode_layout(layout)  # never publish what cannot be read back
    catalog = encode_root(empty_catalog(layout))
    with storage.exclusive():
        refuse_occupied(storage)
        _put_layout(storage, layout)
        try:
            storage.prove(LAYOUT, layout)
        except LosesWritesError:
            with suppress(StorageError, ObjectNotFoundError):
                storage.delete(LAYOUT)
            raise
        note()
        try:
            storage.put_if_unchanged(ROOT, catalog, None)
        except ConflictError as error:
            raise BankExistsError(f"{storage.location} already holds a bank") from error
        confirm(storage, catalog)


def refuse_occupied(storage: Storage) -> None:
    """Allow an empty place, or one where the making of a bank was interrupted.

    Raises:
        BankExistsError: there is anything else; names it.
        StorageError: the store refused, or can only be read.
    """
    storage.refuse_read_only()
    for stored in storage.list():
        if stored.key == ROOT:
            raise BankExistsError(f"{storage.location} already holds a bank")
        if stored.key not in (LAYOUT, BASE_LOCATION) and ".tmp-" not in stored.key:
            raise BankExistsError(
                f"{storage.location} is not empty (it has {stored.key}): choose another place"
            )


def _put_layout(storage: Storage, document: bytes) -> None:
    """Write the layout; in a store without locks, never over that of another process."""
    if storage.locks:
        storage.put(LAYOUT, document)
        return
    try:
        storage.put_if_unchanged(LAYOUT, document, None)
    except ConflictError as error:
        if storage.get(LAYOUT, len(document)) != document:
            raise BankExistsError(
                f"{storage.location} has a {LAYOUT} of another base, whose bank is being made or "
                "was never finished: choose another place, or remove that object"
            ) from error


def remember_base(storage: Storage, base: CheckpointSource) -> None:
    """Note the path of a base that is a file or a folder; other kinds have no path.

    A URL is not noted: a stranger's bank would then choose what this machine asks the network for.
    """
    if isinstance(base, str | os.PathLike) and "://" not in os.fspath(base):
        path = os.path.abspath(base)
        with suppress(UnicodeEncodeError):  # a path that is not text cannot be noted
            storage.put(BASE_LOCATION, encode_document(_Location(path, _digest(path))))


def recall_base(storage: Storage) -> str:
    """The path that was noted: absolute, so that nobody takes it for a URL or for what lies here.

    Raises:
        UsageError: none was, or nothing is there any more.
    """
    path = None
    with suppress(FormatError, ObjectNotFoundError, StorageError):
        path = _path_of_this_machine(read_location(storage))
    if path is None:
        raise UsageError(
            f"{storage.location} does not say where its base's weights are: give base= (--base)"
        )
    if not os.path.exists(path):
        raise UsageError(
            f"the base's weights are no longer at {path}: give their new place as base= (--base)"
        )
    return path


def _path_of_this_machine(noted: str) -> str | None:
    """An absolute path without ``://``; ``None`` for a URL, a relative path, or a network share.

    Whoever made the bank wrote it: opening it must ask nobody for anything.
    """
    path = str(Path(noted))  # has no slash twice
    share = os.path.splitdrive(path)[0].startswith((r"\\", "//"))
    return path if os.path.isabs(path) and not share and "://" not in path else None


def read_location(storage: Storage) -> str:
    """The path that was noted, whether or not something is there.

    Raises:
        ObjectNotFoundError: none was noted.
        CorruptionError: the note is damaged.
    """
    location = decode_document(
        storage.get(BASE_LOCATION, MAX_DOCUMENT_BYTES), _Location, BASE_LOCATION
    )
    if _digest(location.path) != location.sha256:
        raise CorruptionError("document-digest", f"{BASE_LOCATION} is damaged", key=BASE_LOCATION)
    return location.path


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()
