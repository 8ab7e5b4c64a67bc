"""A root document made anew of the revisions in a bank, each of which proves itself.

A revision's folder is named by the SHA-256 of its document, and the document has the digests of
all the rest: what the catalog says of a task follows from it. Which revisions a lost catalog named
follows from nothing: a removed task's are there until ``gc``, a replaced one's too. So a task with
one whole revision is taken, of several none, unless the user or a root document without a right
digest says which.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Literal, final

from tvbank.bank.chains import without_parents
from tvbank.bank.documents import (
    FORMAT,
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    CatalogEntry,
    ObjectRecord,
    Revision,
    RouterEntry,
    decode_revision,
    empty_catalog,
    encode_root,
    is_written,
    with_features,
)
from tvbank.bank.names import check_task_name
from tvbank.bank.products import check_revision
from tvbank.bank.rewritten import body_of, original_of
from tvbank.bank.router_documents import RouterRevision, decode_router
from tvbank.bank.shard import index_bytes
from tvbank.errors import FormatError, InvalidNameError, UnsupportedError, UsageError
from tvbank.layout import Layout
from tvbank.storage import ObjectNotFoundError, Storage

_Kind = Literal["tasks", "routers"]
_KEY = re.compile(r"(tasks|routers)/([^/]+)/([0-9a-f]{64})/zarr\.json\Z")


@final
class Rebuilder:
    """Finds the revisions that prove themselves, and makes a root document of them."""

    def __init__(self, storage: Storage, root: bytes | None, chosen: Mapping[str, str]) -> None:
        """Look at what is there.

        Args:
            storage: holds the bank.
            root: what lies in the root document's place; nothing in it is proved.
            chosen: task or router -> the revision to take, or its first digits.

        Raises:
            UnsupportedError: the document says that it is of another version.
            StorageError: the store refused.
        """
        self._storage, self._chosen = storage, chosen
        self._body = {} if root is None else body_of(root)
        if not is_written(stated := self._body.get("format", FORMAT)):
            raise UnsupportedError(
                "version",
                f"{storage.location}: {ROOT} has another digest than it states, and states format "
                f"{stated!r:.40}, which this tvbank does not write: install a newer tvbank",
            )
        self._sizes = {
            stored.key: stored.size
            for kind in ("tasks/", "routers/")
            for stored in storage.list(kind)
        }
        self._proved: dict[_Kind, dict[str, dict[str, bytes]]] = {"tasks": {}, "routers": {}}
        for key in sorted(self._sizes):
            if (match := _KEY.match(key)) and _is_name(match[2]):
                self._prove(key, match)
        self._left_out: list[str] = []

    def _prove(self, key: str, match: re.Match[str]) -> None:
        kind: _Kind = "tasks" if match[1] == "tasks" else "routers"
        struct = Revision if kind == "tasks" else RouterRevision
        try:
            data = self._storage.get(key, MAX_DOCUMENT_BYTES)
        except ObjectNotFoundError:
            return
        original = original_of(data, struct, match[3])
        if original is not None:
            self._proved[kind].setdefault(match[2], {})[match[3]] = original

    @property
    def layouts(self) -> list[str]:
        """Digests of the layouts that the revisions name, the most frequent first."""
        named = Counter(
            str(body_of(data).get("layout"))
            for revisions in (*self._proved["tasks"].values(), *self._proved["routers"].values())
            for data in revisions.values()
        )
        return [digest for digest, _ in named.most_common()]

    @property
    def doubt(self) -> str:
        """What nothing proves of the root document that is made, in a sentence."""
        if self._claimed("tasks") is not None:
            return (
                f"{ROOT} has another digest than it states: which revision each task has is taken "
                "from it, though nothing proves that this was not changed"
            )
        return f"{ROOT} is lost: whether a task that is here had been removed cannot be proved"

    def root(self, layout: Layout) -> tuple[bytes, list[str]]:
        """The root document; and what it lacks and why, in sentences.

        Raises:
            UsageError: a revision was chosen that is not there.
        """
        self._left_out = []
        tasks: dict[str, CatalogEntry] = {}
        for name, (digest, document) in self._take("tasks", layout).items():
            revision = decode_revision(document, name, name)
            tasks[name] = _task_entry(layout, revision, digest, len(document))
        for name in without_parents(tasks):
            del tasks[name]
            self._leave("tasks", name, "the task that it starts from is not there in that revision")
        routers: dict[str, RouterEntry] = {}
        for name, (digest, document) in self._take("routers", layout).items():
            records = decode_router(document, name, layout.sha256).objects.values()
            total = len(document) + sum(record.size for record in records)
            routers[name] = RouterEntry(revision=digest, size=len(document), stored_bytes=total)
        catalog = Catalog(
            digest="", format=FORMAT, required_features=(), tasks=tasks, routers=routers,
            layout=empty_catalog(layout.document).layout,
            generation=self._generation(len(tasks) + len(routers)),
        )  # fmt: skip
        return encode_root(with_features(catalog)), self._left_out

    def _generation(self, least: int) -> int:
        """One more than the root document says; else no less than there were publications."""
        stated = self._body.get("generation")
        if type(stated) is int and 0 <= stated < 2**53:
            return stated + 1
        return least

    def _claimed(self, kind: _Kind) -> dict[str, str] | None:
        """The revisions that a root document names which is not proved, if it names any."""
        entries = self._body.get(kind, {} if "tasks" in self._body else None)
        if not isinstance(entries, dict):
            return None
        return {
            name: str(entry.get("revision"))
            for name, entry in entries.items()
            if isinstance(entry, dict)
        }

    def _take(self, kind: _Kind, layout: Layout) -> dict[str, tuple[str, bytes]]:
        """The revision of each name that is taken: its digest and document."""
        proved, claimed = self._proved[kind], self._claimed(kind)
        taken: dict[str, tuple[str, bytes]] = {}
        for name in sorted(claimed.keys() - proved.keys()) if claimed is not None else ():
            self._leave(kind, name, "no revision of it proves itself")
        for name, revisions in proved.items():
            fitting = {
                digest: data
                for digest, data in revisions.items()
                if self._fits(kind, name, data, layout)
            }
            digest = self._choose(kind, name, fitting)
            if digest is None:
                continue
            if any(other.lower() == name.lower() for other in taken):
                self._leave(kind, name, "its name differs from another's in case only")
                continue
            taken[name] = digest, fitting[digest]
        return taken

    def _choose(self, kind: _Kind, name: str, revisions: Mapping[str, bytes]) -> str | None:
        if name in self._chosen:
            found = [digest for digest in revisions if digest.startswith(self._chosen[name])]
            if len(found) != 1:
                there = ", ".join(revisions) or "none that proves itself"
                raise UsageError(
                    f"{name!r} has not one revision that begins with {self._chosen[name]!r}: "
                    f"there are {there}"
                )
            return found[0]
        claimed = self._claimed(kind)
        if claimed is not None:
            if claimed.get(name) in revisions:
                return claimed[name]
            if name in claimed:
                self._leave(kind, name, "the revision that the catalog named is not there whole")
            return None
        whole = [digest for digest in revisions if not self._lacking(kind, name, revisions, digest)]
        if len(whole) == 1:
            return whole[0]
        why = "objects of it are missing: it was never finished, or is damaged"
        if whole:
            why = (
                "which of its revisions was the last cannot be proved: choose one with revisions= "
                f"(--revision {name}=DIGEST): {', '.join(whole)}"
            )
        self._leave(kind, name, why if revisions else "its revisions are of another base")
        return None

    def _leave(self, kind: _Kind, name: str, why: str) -> None:
        self._left_out.append(f"{kind.removesuffix('s')} {name!r} is left out: {why}")

    def _lacking(
        self, kind: _Kind, name: str, revisions: Mapping[str, bytes], digest: str
    ) -> list[str]:
        """Keys of the objects that a revision names and that are not there."""
        folder = f"{kind}/{name}/{digest}"
        body = body_of(revisions[digest])
        keys = [f"{folder}/{key}" for key in body["objects"]]
        for number, shard in enumerate(body.get("shards", ())):
            keys += [f"{folder}/delta/c/{number}"] if shard is not None else []
        fixed = {key for key in keys if key.endswith("/zarr.json")}  # these can be restored
        return [key for key in keys if key not in self._sizes and key not in fixed]

    def _fits(self, kind: _Kind, name: str, data: bytes, layout: Layout) -> bool:
        """Whether a bank of this layout opens with a revision."""
        try:
            if kind == "routers":
                decode_router(data, name, layout.sha256)
                return True
            revision = decode_revision(data, name, name)
            check_revision(layout, revision)
        except FormatError:
            return False
        least = index_bytes(layout.chunks_per_shard)
        return (
            revision.layout == layout.sha256
            and len(revision.shards) == layout.shard_count
            and all(shard is None or shard.size > least for shard in revision.shards)
        )


def _is_name(name: str) -> bool:
    try:
        check_task_name(name)
    except InvalidNameError:
        return False
    return True


def _task_entry(layout: Layout, revision: Revision, digest: str, size: int) -> CatalogEntry:
    """What a catalog says of a revision, all of which follows from its document."""
    replaced = tuple(extra.name for extra in revision.extras if extra.name in layout.by_name)
    kept = {*replaced}
    covered = sum(unit.size for unit in layout.units if unit.name not in kept)
    records: list[ObjectRecord | None] = [*revision.shards, *revision.objects.values()]
    return CatalogEntry(
        revision=digest,
        size=size,
        element=revision.element,
        shards=revision.shards,
        nonzeros=revision.nonzeros,
        parameters=covered + sum(extra.size for extra in revision.extras),
        stored_bytes=size + sum(record.size for record in records if record is not None),
        replaced=replaced,
        compressor=revision.compressor,
        features=revision.features,
        parent=revision.parent,
    )
