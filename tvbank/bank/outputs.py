"""Outputs that must not replace a file of the bank that they are made from."""

from __future__ import annotations

import os
from pathlib import Path

from tvbank.bank.documents import ROOT
from tvbank.checkpoint import is_one_of
from tvbank.errors import UsageError
from tvbank.storage import Storage

#: What lies at the top of a bank's folder; anything else there is not the bank's.
_TOP = {ROOT, "base", "tasks", "routers"}


def refuse_within(storage: Storage, out: str | os.PathLike[str]) -> None:
    """Refuse to write over an object of a bank, or among its objects.

    Args:
        storage: holds the bank; of one that is no file or folder of this machine nothing is asked.
        out: the file to be written; need not be there.

    Raises:
        UsageError: it is the bank's zip file or one of its objects, under whatever name, or would
            lie in one of its folders.
    """
    root, path = storage.local_path(ROOT), Path(out)
    if root is None:
        return
    refusal = UsageError(
        f"{path} belongs to the bank {storage.location} itself: choose another output file"
    )
    if root.name != ROOT:  # the zip file that holds all of them
        if is_one_of(path, [root]):
            raise refusal
        return
    try:
        place = path.parent.resolve() / path.name
        top = place.relative_to(root.parent.resolve()).parts[0]
    except (OSError, ValueError, IndexError, RuntimeError):  # elsewhere
        top = ""
    if top.lower() in _TOP:
        raise refusal
    if path.exists():
        keys = (stored.key for stored in storage.list())
        files = map(storage.local_path, (key for key in keys if key.split("/")[0] in _TOP))
        if is_one_of(path, (file for file in files if file is not None)):
            raise refusal
