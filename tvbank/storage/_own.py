"""Stores that users made themselves, with credentials of their own: obstore's, zarr's, fsspec's.

They are known by their classes' names, so that no package is imported to tell them.
"""

from __future__ import annotations

import os
from typing import Any

from tvbank.errors import UsageError
from tvbank.storage._storage import Storage
from tvbank.storage.local import LocalStorage


def own_storage(place: Any) -> Storage | None:
    """The storage of another library's store; ``None`` for what is none.

    Folders of this machine are those of ``LocalStorage``, whose writers keep each other out.

    Raises:
        UsageError: a file system of this machine without a folder in it.
    """
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(place).__mro__}
    if ("obstore", "LocalStore") in kinds:
        return LocalStorage(os.fspath(place.prefix or os.sep))
    if any(package == "obstore" and name.endswith("Store") for package, name in kinds):
        from tvbank.storage.objects import ObjectStorage  # obstore, which no folder needs

        return ObjectStorage(place)
    if kinds & {("zarr", "ObjectStore"), ("zarr", "FsspecStore"), ("zarr", "LocalStore")}:
        return _of_zarr(place)
    if ("fsspec", "FSMap") in kinds:
        return _of_fsspec(place.fs, str(place.root))
    if ("fsspec", "AbstractFileSystem") in kinds:
        return _of_fsspec(place, "")
    return None


def _of_zarr(store: Any) -> Storage | None:
    if hasattr(store, "root"):
        storage: Storage | None = LocalStorage(os.fspath(store.root))
    elif hasattr(store, "fs"):
        storage = _of_fsspec(store.fs, str(store.path))
    else:
        storage = own_storage(store.store)
    if storage is not None and store.read_only:
        storage.read_only = True
    return storage


def _of_fsspec(files: Any, root: str) -> Storage:
    files = _synchronous(files)
    protocols = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
    if protocols & {"file", "local"}:
        if not root:
            raise UsageError("a file system of this machine is no place: give the bank's folder")
        return LocalStorage(root)
    from tvbank.storage.by_fsspec import FsspecStorage

    return FsspecStorage((files, root))


def _synchronous(files: Any) -> Any:
    """The same file system, to be called without an event loop: zarr's are made for one."""
    inner = getattr(files, "sync_fs", None)
    if inner is not None:
        return inner
    if not getattr(files, "asynchronous", False):
        return files
    return type(files)(*files.storage_args, **{**files.storage_options, "asynchronous": False})
