"""Where this machine has the base's weights: a side file for convenience, not part of the format.

A bank does not hold the base. ``add`` needs it, so ``create`` notes the path it was given.
"""

from __future__ import annotations

import os

import msgspec

from tvbank.bank.storage import ObjectNotFoundError, Storage
from tvbank.checkpoint import CheckpointSource
from tvbank.errors import StorageError, UsageError

KEY = ".base.json"


class _Location(msgspec.Struct):
    path: str


def remember_base(storage: Storage, base: CheckpointSource) -> None:
    """Note the path of a base that is a file or a folder; other kinds cannot be found again."""
    if isinstance(base, str | os.PathLike):
        location = _Location(os.path.abspath(base))
        storage.put(KEY, msgspec.json.encode(location))


def recall_base(storage: Storage) -> str:
    """The path that was noted.

    Raises:
        UsageError: none was, or nothing is there any more.
    """
    try:
        path = msgspec.json.decode(storage.get(KEY), type=_Location).path
    except (ObjectNotFoundError, StorageError, msgspec.MsgspecError, UnicodeDecodeError):
        raise UsageError(
            f"{storage.location} does not say where its base's weights are: give base= (--base)"
        ) from None
    if not os.path.exists(path):
        raise UsageError(
            f"the base's weights are no longer at {path}: give their new place as base= (--base)"
        )
    return path
