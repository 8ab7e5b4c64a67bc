"""Locks between threads, in processes that fork: a child has no thread that could give one back."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class _Owner(Protocol):
    _lock: threading.RLock


_owners: weakref.WeakSet[_Owner] = weakref.WeakSet()


def renewed_in_children(owner: _Owner) -> threading.RLock:
    """A lock for ``owner._lock``, in whose place a forked child gets one that nobody holds."""
    _owners.add(owner)
    return threading.RLock()


def _renew() -> None:
    for owner in list(_owners):
        owner._lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no such processes
    os.register_at_fork(after_in_child=_renew)
