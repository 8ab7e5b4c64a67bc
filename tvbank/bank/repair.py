"""Repair: what other tools made of a bank's documents is undone, as far as digests prove it.

Everything in a bank is either named by a digest that is recorded elsewhere, or has fixed bytes. So
a document that was rewritten or removed is restored only as the bytes that have its digest, or as
the only bytes that it may have. Shards and other chunks hold what nothing else holds: they come
from a copy (``cp --replace``) or from the fine-tune (``add --replace``). A root document that
cannot be proved is made anew from the revisions that prove themselves; ``rebuilt.py`` does that.

What was there before stays below ``before-repair/``, which readers, ``verify`` and ``gc`` leave
alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from typing import final

from tvbank._progress import Listener
from tvbank.bank.amended import AmendedStorage
from tvbank.bank.checking import Fault
from tvbank.bank.documents import (
    LAYOUT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    Revision,
    decode_layout,
    decode_revision,
    decode_root,
    record_of,
)
from tvbank.bank.extras import extras_documents
from tvbank.bank.products import products_documents
from tvbank.bank.rebuilt import Rebuilder
from tvbank.bank.rewritten import original_of, original_root
from tvbank.bank.router_documents import RouterRevision, decode_router
from tvbank.bank.verify import verify
from tvbank.bank.zarr_documents import DELTA, MARKER, delta_document, markers
from tvbank.checkpoint import CheckpointSource, borrow_checkpoint
from tvbank.errors import BankNotFoundError, CorruptionError, FormatError, StorageError, TvbankError
from tvbank.layout import DEFAULT_CHUNK_LENGTH, MAX_CHUNK_LENGTH, Layout, build_layout
from tvbank.naming import by_names
from tvbank.storage import Location, ObjectNotFoundError, Storage, open_storage
from tvbank.storage.by_icechunk import IcechunkStorage

#: The folder of what documents were before they were repaired.
BACKUPS = "before-repair"


@dataclass(frozen=True)
class Restored:
    """A document that was restored: its key, what was wrong, and what proves the new bytes."""

    key: str
    what: str


@dataclass(frozen=True)
class RepairReport:
    """How a repair ended.

    Attributes:
        location: of the bank.
        restored: the documents that were restored, or would be.
        unproved: in sentences, what could not be proved.
        left_out: in sentences, the tasks and routers that a catalog made anew lacks, and why.
        faults: those that the bank has now, or would have.
        backups: keys under which the former documents stay.
        dry_run: whether nothing was written.
    """

    location: str
    restored: tuple[Restored, ...]
    unproved: tuple[str, ...]
    left_out: tuple[str, ...]
    faults: tuple[Fault, ...]
    backups: tuple[str, ...] = ()
    dry_run: bool = False


def repair(
    bank: Location,
    *,
    base: CheckpointSource | None = None,
    names: Mapping[str, str] | None = None,
    revisions: Mapping[str, str] | None = None,
    dry_run: bool = False,
    progress: Listener = None,
) -> RepairReport:
    """Restore a bank's documents, as far as digests prove what they were; then verify all of it.

    What is sound stays as it is. Nothing is guessed: of a task with several revisions and no
    catalog to say which one it had, none is taken unless ``revisions`` says which.

    Args:
        bank: where it is.
        base: the base's weights, of which a layout that is damaged or lost can be made again.
        names: what they call each of the bank's names, where they differ. The base that
            the bank was made of had its tensors in this one's order, or in that of their names.
        revisions: task or router -> the revision to take, or its first digits, where the catalog
            is lost and there are several.
        dry_run: whether to write nothing, and only say what would be done.
        progress: a ``Progress``, or a function that is called with bytes verified and in all.

    Raises:
        BankNotFoundError: nothing there is a bank's.
        UnsupportedError: the bank needs a newer tvbank.
        StorageError: the store refused, or can only be read; a bank that could be opened before
            can be opened still.
    """
    storage = open_storage(bank)
    _refuse_nothing(storage)
    with nullcontext() if dry_run else storage.exclusive():
        work = _Repair(storage, base, names, dict(revisions or {}))
        work.plan()
        backups = () if dry_run else work.write()
    faults = verify(work.amended if dry_run else storage, progress) if work.openable else [work.why]
    return RepairReport(
        storage.location, tuple(work.restored), tuple(work.unproved), tuple(work.left_out),
        tuple(faults), backups, dry_run,
    )  # fmt: skip


def _refuse_nothing(storage: Storage) -> None:
    for key in (ROOT, LAYOUT):
        try:
            storage.get(key, 0)
        except ObjectNotFoundError:
            continue
        return
    if not any(key.key.startswith(("tasks/", "routers/")) for key in storage.list()):
        raise BankNotFoundError(
            f"{storage.location} holds nothing of a bank: make one with `tvbank init`"
        )


@final
class _Repair:
    """What is wrong with the documents of one bank, and what they were.

    Attributes:
        amended: the bank as it will be.
        restored, unproved, left_out: see ``RepairReport``.
        openable: whether it has a root document in the end; otherwise ``why`` says why not.
    """

    def __init__(
        self,
        storage: Storage,
        base: CheckpointSource | None,
        names: Mapping[str, str] | None,
        revisions: dict[str, str],
    ) -> None:
        self._storage, self._base, self._revisions = storage, base, revisions
        self._names = names
        self.amended = AmendedStorage(storage)
        self._tag: str | None = None
        self.restored: list[Restored] = []
        self.unproved: list[str] = []
        self.left_out: list[str] = []
        self.openable = True
        self.why = Fault("document-missing", f"{ROOT} is missing, and cannot be made anew", ROOT)

    def plan(self) -> None:
        """Find out what to write."""
        catalog = self._root()
        if catalog is None:
            self.openable = False
            return
        layout = self._layout(catalog)
        for kind, names in (("tasks", catalog.tasks), ("routers", catalog.routers)):
            for key in markers(kind, names):
                self._settle(key, MARKER)
        for name, entry in catalog.tasks.items():
            folder = f"tasks/{name}/{entry.revision}"
            data = self._document(f"{folder}/zarr.json", Revision, entry.revision)
            if data is not None and layout is not None:
                try:
                    revision = decode_revision(data, f"{folder}/zarr.json", name)
                except CorruptionError:
                    continue  # verifying says so
                fixed = {DELTA: delta_document(layout, revision.element)}
                fixed |= extras_documents(revision.extras) | products_documents(revision)
                self._fixed(folder, fixed, revision)
        for name, routed in catalog.routers.items():
            folder = f"routers/{name}/{routed.revision}"
            data = self._document(f"{folder}/zarr.json", RouterRevision, routed.revision)
            if data is not None:
                try:
                    router = decode_router(data, f"{folder}/zarr.json", catalog.layout.sha256)
                except FormatError:
                    continue
                self._fixed(folder, extras_documents(router.extras), router)

    def write(self) -> tuple[str, ...]:
        """Write it, the root document last; the keys of what was there before.

        Raises:
            ConflictError: another writer was faster.
            StorageError: the store refused.
        """
        if not self.amended.changes:
            return ()
        if self._storage.read_only:  # and `cp` copies no bank that cannot be opened
            raise StorageError(
                f"{self._storage.location} can only be read: unpack or copy its files into a "
                "folder, and repair the bank there"
            )
        backups = []
        for key in sorted(self.amended.changes, key=lambda key: key == ROOT):
            former = self._read(key)
            if former is not None and not isinstance(self._storage, IcechunkStorage):
                # (a session's earlier commits hold what was there)
                digest = hashlib.sha256(former).hexdigest()[:16]
                backups.append(f"{BACKUPS}/{key.replace('/', '-')}.{digest}")
                self._storage.put(backups[-1], former)
            if key == ROOT:
                self._storage.put_if_unchanged(ROOT, self.amended.changes[ROOT], self._tag)
            else:
                self._storage.put(key, self.amended.changes[key])
        return tuple(backups)

    def _root(self) -> Catalog | None:
        try:
            data, self._tag = self._storage.get_tagged(ROOT, MAX_DOCUMENT_BYTES)
        except ObjectNotFoundError:
            return self._rebuilt(None)
        try:
            return decode_root(data)
        except CorruptionError:
            pass
        original = original_root(data)
        if original is None:
            return self._rebuilt(data)
        catalog = decode_root(original)  # of a later version: it is refused
        self._settle(ROOT, original, "another tool rewrote it; its own digest proves what it was")
        return catalog

    def _rebuilt(self, data: bytes | None) -> Catalog | None:
        """A root document made anew, where what is there proves nothing."""
        rebuilder = Rebuilder(self._storage, data, self._revisions)
        layout = self._proved_layout(rebuilder.layouts)
        if layout is None:
            self.unproved.append(
                f"no revision proves itself, or none is of {LAYOUT} as it is: without a layout "
                "there is no bank" + ("" if self._base else "; base= (--base) may make it again")
            )
            return None
        root, self.left_out = rebuilder.root(layout)
        self.unproved.append(rebuilder.doubt)
        self._settle(ROOT, root, "made anew from the revisions that prove themselves")
        return decode_root(root)

    def _proved_layout(self, digests: list[str]) -> Layout | None:
        """The layout that has one of these digests, restored if need be."""
        for digest in digests:
            data = self._document(LAYOUT, Layout, digest, quiet=True) or self._measured(digest)
            if data is not None:
                self._settle(LAYOUT, data, _PROVED)
                return decode_layout(data)
        return None

    def _layout(self, catalog: Catalog) -> Layout | None:
        """The catalog's layout, restored if need be."""
        layout = self._proved_layout([catalog.layout.sha256])
        if layout is None:
            self.unproved.append(
                f"{LAYOUT} is another than the catalog names, and what it was is not in it: give "
                "the base's weights as base= (--base), or copy it from a copy of the bank"
            )
        return layout

    def _measured(self, digest: str) -> bytes | None:
        """The layout with this digest, made again of the base's weights."""
        if self._base is None:
            return None
        # Files are in the order of their names: under others it is another, which is tried, too.
        orders = (False, True) if self._names else (False,)
        for length, ordered in product(_chunk_lengths(self._storage), orders):
            try:
                with borrow_checkpoint(self._base) as checkpoint:
                    renamed = by_names(checkpoint, self._names, ordered=ordered)
                    document = build_layout(renamed, length).document
            except TvbankError as error:
                self.unproved.append(f"no layout can be made of the base: {error}")
                return None
            if record_of(document).sha256 == digest:
                return document
        self.unproved.append("the base that was given is not the one that the bank was made of")
        return None

    def _document(
        self, key: str, kind: type[Layout | Revision | RouterRevision], digest: str,
        *, quiet: bool = False,
    ) -> bytes | None:  # fmt: skip
        """The document with this digest, restored if need be; None if it cannot be."""
        data = self._read(key)
        original = None if data is None else original_of(data, kind, digest)
        if original is not None:
            self._settle(key, original, _PROVED)
        elif not quiet:
            self.unproved.append(
                f"{key} is {'missing' if data is None else 'damaged'}, and what it was is not in "
                "it: copy it from a copy of the bank (`tvbank cp COPY BANK --replace`)"
            )
        return original

    def _fixed(
        self, folder: str, documents: Mapping[str, bytes], revision: Revision | RouterRevision
    ) -> None:
        """The zarr documents of a revision, whose bytes are fixed."""
        for key, data in documents.items():
            if revision.objects.get(key) == record_of(data):
                self._settle(f"{folder}/{key}", data)

    def _settle(self, key: str, data: bytes, what: str = "its bytes are fixed") -> None:
        """See to it that a document has these bytes in the end."""
        now = self._read(key)
        if data in (now, self.amended.changes.get(key)):
            return
        self.amended.changes[key] = data
        state = "it was missing" if now is None else "it was another"
        self.restored.append(Restored(key, f"{state}; {what}"))

    def _read(self, key: str) -> bytes | None:
        try:
            return self._storage.get(key, MAX_DOCUMENT_BYTES)
        except ObjectNotFoundError:
            return None


_PROVED = "the digest that is recorded of it proves what it was"


def _chunk_lengths(storage: Storage) -> list[int]:
    """Lengths that the chunks of a bank may have: as its deltas say, else the usual one."""
    for stored in storage.list("tasks/"):
        if stored.key.endswith("/delta/zarr.json"):
            try:
                document = json.loads(storage.get(stored.key, 2**16))
                length = document["codecs"][0]["configuration"]["chunk_shape"][0]
            except (ObjectNotFoundError, ValueError, LookupError, TypeError, RecursionError):
                continue
            if type(length) is int and 1 <= length <= MAX_CHUNK_LENGTH:
                return [length]
    return [DEFAULT_CHUNK_LENGTH]
