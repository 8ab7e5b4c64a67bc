"""Whether a store heeds the conditions of a put: publishing relies on nothing else.

Older stores, and gateways in front of newer ones, ignore them: each of two writers is then told
that its catalog took the old one's place, and one is lost. So before its first publication in a
store a process puts what must be refused. The object is one whose bytes never change: no writer is
disturbed, whatever the store answers, and nothing is left behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from typing import Any

from tvbank.errors import ConflictError
from tvbank.storage._storage import LosesWritesError

#: Tags that no object has: object stores compare the first or, as Google's does, the second.
_NO_TAG = {"e_tag": f'"{"0" * 32}"', "version": "1"}

_REMEDY = (
    "two writers would overwrite each other's tasks. Write through a gateway or to a store that "
    "heeds If-Match and If-None-Match on PUT, or write the bank in a folder and copy that there "
    "with the store's own tools, to be read"
)

#: The stores in which this process has seen conditions heeded. Users' own store objects have no
#: hash: they go by identity, and are held so that no other takes it.
_proven: dict[object, object] = {}


def where(location: str) -> object:
    """What tells stores apart: their URL, and the settings by which clients find them."""
    settings = ("AWS_", "AZURE_", "GOOGLE_")
    return location, frozenset(one for one in os.environ.items() if one[0].startswith(settings))


def refuse_weak(location: str, key: str, tag: str) -> None:
    """Refuse tags that no conditional put can name.

    Raises:
        LosesWritesError: there is none, or a weak one, which compares equal to nothing.
    """
    found = json.loads(tag)
    if "sha256" in found:
        raise LosesWritesError(f"{location}: the store gives {key!r} no tag (ETag): {_REMEDY}")
    if found.get("e_tag", "").startswith("W/") and not location.startswith(("gs:", "gcs:")):
        raise LosesWritesError(
            f"{location}: the store gives {key!r} a weak tag ({found['e_tag'][:80]}), which no "
            "conditional PUT can name, as gateways do that compress or change answers: turn that "
            "off there, or write to the store itself"
        )


def prove(store: object, location: str, write: Callable[[Any], None]) -> None:
    """Make certain that conditions are heeded; once for each store.

    Args:
        store: what is remembered.
        location: of the store, for messages.
        write: puts the same small object with a condition, as obstore's modes are.

    Raises:
        LosesWritesError: they are not.
        StorageError: the store refused otherwise.
    """
    known = store if isinstance(store, Hashable) else id(store)
    if known in _proven:
        return
    if _accepted(write, "create") and _accepted(write, "create"):  # the first may have made it
        raise LosesWritesError(f"{location}: the store ignores If-None-Match: {_REMEDY}")
    if _accepted(write, _NO_TAG):
        raise LosesWritesError(f"{location}: the store ignores If-Match: {_REMEDY}")
    _proven[known] = store


def _accepted(write: Callable[[Any], None], mode: Any) -> bool:
    try:
        write(mode)
    except ConflictError:
        return False
    return True
