"""Packing a bank into one zip file, stored as it is, so that ranges of it can be read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tvbank._atomic import ReplacedFile
from tvbank._progress import Counter, Listener, Progress, listener
from tvbank.bank.contents import Contents, contents_of
from tvbank.bank.documents import LAYOUT, ROOT, CatalogEntry, encode_root
from tvbank.bank.outputs import refuse_within
from tvbank.bank.routers import StoredRouter
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.errors import BankExistsError, UsageError
from tvbank.storage import Location, local_file, open_storage

_EPOCH = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16


@dataclass(frozen=True)
class PackReport:
    """What was packed: the file, its tasks and routers, objects and bytes."""

    path: str
    tasks: tuple[str, ...]
    objects: int
    bytes: int
    routers: tuple[str, ...] = ()


def pack(
    source: Location,
    out: str | os.PathLike[str],
    tasks: Iterable[str] | None = None,
    *,
    replace: bool = False,
    progress: Listener = None,
) -> PackReport:
    """Write a bank, or some of its tasks, into one zip file; same content, same bytes.

    Routers go along if they know no other tasks.

    The documents that opening reads come last, next to the directory, so that one request for the
    end of the file opens the bank.

    Args:
        source: a bank.
        out: the file, whose name must end in ``.zip``, so that it can be opened.
        tasks: which; all by default.
        replace: whether to replace a file that exists.
        progress: a ``Progress``, or a function that is called with bytes done and in all.

    Raises:
        UsageError: the name does not end in ``.zip``, or is that of the bank itself or of a file
            in it.
        BankExistsError: there is something already, and ``replace`` is false.
        BankNotFoundError, TaskNotFoundError, CorruptionError: the source.
        StorageError: a store or the disk refused; a file that was there stays as it was.
    """
    path = local_file(out)
    if path.suffix.lower() != ".zip":
        raise UsageError(f"{path}: give a name that ends in .zip, so that the bank can be opened")
    if path.is_dir() or (path.exists() and not replace):
        raise BankExistsError(f"{path} exists: choose another name, or replace it (--force)")
    storage = open_storage(source)
    refuse_within(storage, path)
    contents = contents_of(storage)
    chosen = contents.chosen(tasks)
    routers = contents.routers(chosen)
    with ReplacedFile(path, sweep=True) as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            objects = _write(archive, contents, chosen, routers, listener(progress))
        size = file.seek(0, os.SEEK_END)
    return PackReport(str(path), tuple(chosen), objects, size, tuple(routers))


def _write(
    archive: zipfile.ZipFile,
    source: Contents,
    chosen: dict[str, CatalogEntry],
    routers: dict[str, StoredRouter],
    progress: Progress,
) -> int:
    """Write all objects: the large ones first, the root document last; their number."""
    counter = Counter(progress, sum(entry.stored_bytes for entry in chosen.values()))
    count = 0

    def add(key: str, data: bytes) -> None:
        nonlocal count
        entry = zipfile.ZipInfo(key, _EPOCH)
        entry.create_system, entry.external_attr = 3, _READABLE
        archive.writestr(entry, data)
        count += 1

    for name in chosen:
        for key, record in source.objects(name).items():
            add(key, source.read(key, record, name))
            counter.advance(record.size)
    for router in routers.values():
        for key, record in router.objects().items():
            add(key, source.read(key, record))
    for key in (*markers("tasks", chosen), *markers("routers", routers)):
        add(key, MARKER)
    add(LAYOUT, source.read(LAYOUT, source.catalog.layout))
    kept = {name: router.entry for name, router in routers.items()}
    root = msgspec.structs.replace(source.catalog, tasks=dict(chosen), routers=kept)
    add(ROOT, encode_root(root))
    return count
