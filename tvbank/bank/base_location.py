"""Where this machine has the base's weights: a note for convenience that readers ignore.

A bank does not hold the base. ``add`` needs it, so ``create`` notes the path it was given, as the
attributes of a plain group (spec/container.md, "The location of the base").
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

import msgspec

from tvbank.bank.documents import MAX_DOCUMENT_BYTES, decode_document, encode_document
from tvbank.checkpoint import CheckpointSource
from tvbank.errors import CorruptionError, FormatError, StorageError, UsageError
from tvbank.layout import Digest
from tvbank.storage import ObjectNotFoundError, Storage

KEY = "base/location/zarr.json"


class _Location(msgspec.Struct, frozen=True):
    """An absolute path and the SHA-256 of its UTF-8 bytes."""

    path: str
    sha256: Digest


def remember_base(storage: Storage, base: CheckpointSource) -> None:
    """Note the path of a base that is a file or a folder; other kinds cannot be found again.

    A URL is not noted: a stranger's bank would then choose what this machine asks the network for.
    """
    if isinstance(base, str | os.PathLike) and "://" not in os.fspath(base):
        path = os.path.abspath(base)
        with suppress(UnicodeEncodeError):  # a path that is not text cannot be noted
            storage.put(KEY, encode_document(_Location(path, _digest(path))))


def recall_base(storage: Storage) -> str:
    """The path that was noted.

    Raises:
        UsageError: none was, or nothing is there any more.
    """
    try:
        path = read_location(storage)
    except (FormatError, ObjectNotFoundError, StorageError):
        path = None
    if path is None:
        raise UsageError(
            f"{storage.location} does not say where its base's weights are: give base= (--base)"
        )
    if not os.path.exists(path):
        raise UsageError(
            f"the base's weights are no longer at {path}: give their new place as base= (--base)"
        )
    return path


def read_location(storage: Storage) -> str:
    """The path that was noted, whether or not something is there.

    Raises:
        ObjectNotFoundError: none was noted.
        CorruptionError: the note is damaged.
    """
    location = decode_document(storage.get(KEY, MAX_DOCUMENT_BYTES), _Location, KEY)
    if _digest(location.path) != location.sha256:
        raise CorruptionError("document-digest", f"{KEY} is damaged", key=KEY)
    return location.path


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()
