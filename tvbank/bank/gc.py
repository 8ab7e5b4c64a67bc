"""Garbage collection: removing the objects that no catalog names and nobody may still need.

The rule (spec/container.md, "Garbage collection"): an object that the newest catalog does not reach
is removed once the youngest object of its folder is older than a grace period. A writer that takes
a revision out of the catalog makes it young first, so readers of the generation before have that
long to finish; objects that a live writer uploads are young by themselves. Ages are told by the
clock that stamps the objects, never by this machine's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from tvbank._atomic import TEMPORARY
from tvbank.bank.documents import Catalog
from tvbank.bank.publish import refuse_other_bank, revision_documents
from tvbank.bank.snapshot import read_root_to_change
from tvbank.bank.zarr_documents import markers
from tvbank.errors import UsageError
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage, StoredObject

_log = logging.getLogger(__name__)

#: Seconds by which an object may be younger than the store's clock says it can be.
_AHEAD = 60.0

#: Seconds that objects stay which the catalog no longer names, by default.
GRACE = 3600.0


@dataclass(frozen=True)
class GcReport:
    """What ``gc`` removed, and what it left because it is young: objects and their bytes."""

    objects: int
    bytes: int
    kept_objects: int = 0
    kept_bytes: int = 0


def collect_garbage(
    storage: Storage, grace: float = GRACE, layout: Layout | None = None
) -> GcReport:
    """Remove removed and replaced revisions, and what killed writers left.

    Only tasks, routers and temporary files are looked at: what else lies in the folder, such as a
    checkpoint that someone put there, is not the bank's; what ``repair`` keeps stays, too.

    Args:
        storage: the store that holds the bank.
        grace: seconds. Garbage in whose folder something is younger stays: a reader that opened
            the bank before may need it; in a store without locks, a writer about to publish it.
        layout: of the bank that was opened, if one was.

    Raises:
        UsageError: ``grace`` is negative.
        BaseMismatchError: another bank took the place of the one that was opened.
        StorageError: the store refused; what is named by the catalog is untouched in any case.
    """
    if not grace >= 0:
        raise UsageError(f"the grace period must be 0 seconds or more, got {grace}")
    storage.refuse_read_only()
    with storage.exclusive():
        now = storage.now() if grace else 0.0
        removed: list[StoredObject] = []
        kept: list[StoredObject] = []
        for folder, garbage in _garbage(storage, storage.list(), layout).items():
            if grace and not _old(garbage, now - grace):
                _date_anew(storage, garbage, now)
                kept += garbage
                continue
            if not storage.locks:  # a writer may have come since the listing
                garbage = _garbage(storage, list(storage.list(folder)), layout).get(folder, [])
                if grace and not _old(garbage, now - grace):
                    kept += garbage
                    continue
            for one in garbage:
                with suppress(ObjectNotFoundError):
                    storage.delete(one.key)
                    removed.append(one)
        storage.tidy("tasks")
        storage.tidy("routers")
    report = GcReport(
        len(removed), sum(one.size for one in removed), len(kept), sum(one.size for one in kept)
    )
    _log.info("%s: gc removed %d objects, %d bytes", storage.location, report.objects, report.bytes)
    return report


def _old(objects: Iterable[StoredObject], before: float) -> bool:
    return all(one.modified <= before for one in objects)


def _date_anew(storage: Storage, objects: Iterable[StoredObject], now: float) -> None:
    """Begin the grace period of objects that are dated in the future.

    A clock that was ahead dated them, or a copy kept such dates: how old they are is not known, and
    by those dates they would stay for as long as that clock was ahead.
    """
    for one in objects:
        if one.modified > now + _AHEAD:
            with suppress(ObjectNotFoundError):
                storage.touch(one.key)


def _garbage(
    storage: Storage, listed: Iterable[StoredObject], layout: Layout | None
) -> dict[str, list[StoredObject]]:
    """Objects that the newest catalog does not reach, by the folder that is removed as one."""
    listed = list(listed)  # before the catalog is read: what it names then was listed or is new
    catalog = read_root_to_change(storage)[0]
    if layout is not None:
        refuse_other_bank(storage, catalog, layout)
    reached, markers = _reached(catalog), _markers(catalog)
    garbage: dict[str, list[StoredObject]] = {}
    for stored in listed:
        parts = stored.key.split("/")
        folder = "/".join(parts[:3]) + "/" if len(parts) > 3 else ""
        named = folder in reached or stored.key in markers
        ours = parts[0] in ("tasks", "routers")
        if TEMPORARY.search(stored.key) or (ours and not named):
            garbage.setdefault(folder or stored.key, []).append(stored)
    return garbage


def _reached(catalog: Catalog) -> set[str]:
    """Folders of the revisions that a catalog names."""
    return {key.removesuffix("zarr.json") for key in revision_documents(catalog)}


def _markers(catalog: Catalog) -> set[str]:
    """Documents of the plain groups on the way to them."""
    return {*markers("tasks", catalog.tasks), *markers("routers", catalog.routers)}
