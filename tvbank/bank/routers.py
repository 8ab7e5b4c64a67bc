"""Routers in a bank: written, published, read and checked (spec/container.md, "Routers").

A router is a revision without a delta: its arrays are stored as extras are.
"""

from __future__ import annotations

from dataclasses import astuple
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from tvbank.bank.allocating import refuse_too_large
from tvbank.bank.documents import (
    Catalog,
    ExtraRecord,
    ObjectRecord,
    RouterEntry,
    documents_first,
    encode_document,
    record_of,
)
from tvbank.bank.extras import Extras, encode_extra, extras_documents
from tvbank.bank.names import check_task_name
from tvbank.bank.publish import (
    Routers,
    read_root_to_publish,
    refuse_existing,
    replace_root,
)
from tvbank.bank.router_documents import (
    CENTRE,
    KEYS,
    MATRIX,
    OWNERS,
    RecipeRecord,
    RejectionRecord,
    RoutedTask,
    RouterRevision,
    decode_router,
    refuse_array,
)
from tvbank.bank.snapshot import read_stored
from tvbank.bank.zarr_documents import MARKER, markers
from tvbank.errors import (
    NonFiniteError,
    RouterNotFoundError,
    TaskNotFoundError,
    UsageError,
)
from tvbank.layout import Layout
from tvbank.routing import Recipe, Router
from tvbank.routing.router import FitOptions, Metric, Rejection
from tvbank.storage import Storage

#: Bytes for each element of a router's arrays: as stored, as float32, and while it is checked.
_LOADED_BYTES = 4 + 4 + 1


def publish_router(
    storage: Storage, layout: Layout, name: str, router: Router, *, replace: bool
) -> Catalog:
    """Write a router's objects, then name it in the catalog.

    Raises:
        InvalidNameError, RouterExistsError: the name.
        TaskNotFoundError: the bank lacks tasks that the router knows; names them.
        StorageError: the store refused; the catalog is what it was.
    """
    check_task_name(name, "router")
    storage.refuse_read_only()
    with storage.exclusive():
        current = read_root_to_publish(storage, layout)
        catalog = current[0]
        refuse_existing(catalog.routers, name, "router", replace=replace)
        entry, objects = _prepare(catalog, router, storage.location)

        def edit(routers: Routers) -> Routers:
            refuse_existing(routers, name, "router", replace=replace)
            return {**routers, name: entry}

        folder = f"routers/{name}/{entry.revision}"
        sizes = {f"{folder}/{key}": len(data) for key, data in objects.items()}
        for key, data in documents_first(dict(sorted(objects.items()))):
            storage.put(f"{folder}/{key}", data)
        for marker in markers("routers", [name]):
            storage.put(marker, MARKER)
        return replace_root(storage, layout, edit_routers=edit, current=current, sizes=sizes)


def remove_router(storage: Storage, layout: Layout, name: str) -> Catalog:
    """Take a router out of the catalog; its objects stay until ``gc``.

    Raises:
        RouterNotFoundError: the bank has no router of that name.
    """
    storage.refuse_read_only()

    def edit(routers: Routers) -> Routers:
        _entry(routers, name, storage.location)
        return {other: entry for other, entry in routers.items() if other != name}

    return replace_root(storage, layout, edit_routers=edit)


def _prepare(
    catalog: Catalog, router: Router, location: str
) -> tuple[RouterEntry, dict[str, bytes]]:
    """The entry and the objects, by key, of a router for a bank with this catalog.

    The same router has the same keys and the same document.

    Raises:
        TaskNotFoundError: the bank lacks tasks that the router knows; names them.
        NonFiniteError: the router holds NaN or infinity.
    """
    _refuse_unknown(router.tasks, catalog, location)
    with np.errstate(over="ignore"):
        keys = router.keys.astype(np.float16)
    arrays: dict[str, NDArray[Any]] = {
        KEYS: keys if np.array_equal(keys.astype(np.float32), router.keys) else router.keys,
        OWNERS: router.owners.astype(np.int32),
    }
    if router.metric is not None:
        arrays |= {CENTRE: router.metric.centre, MATRIX: router.metric.matrix}
    thresholds = [] if router.rejection is None else [*astuple(router.rejection)]
    numbers = {"thresholds": np.array(thresholds), "spread": np.array(router.spread)}
    for name, array in (arrays | numbers).items():
        if not np.isfinite(array).all():
            raise NonFiniteError(f"the router's {name} are NaN or infinite: fit it anew")
    extras = tuple(
        ExtraRecord(name, array.dtype.name, array.shape) for name, array in arrays.items()
    )
    objects = extras_documents(extras)
    for number, (record, array) in enumerate(zip(extras, arrays.values(), strict=True)):
        for key, chunk in encode_extra(record, np.ascontiguousarray(array)):
            objects[f"extras/{number}/{key}"] = chunk
    given = router.rejection
    revision = RouterRevision(
        layout=catalog.layout.sha256,
        tasks=tuple(RoutedTask(task, catalog.tasks[task].revision) for task in router.tasks),
        recipe=RecipeRecord(router.recipe.at, router.recipe.pooling, router.width),  # type: ignore[arg-type]
        neighbours=router.neighbours,
        spread=router.spread,
        rejection=None if given is None else RejectionRecord(given.evidence, given.distance),
        objects={key: record_of(data) for key, data in objects.items()},
        extras=extras,
        method=router.method.to_json(),
    )
    document = encode_document(revision)
    # Never publish what cannot be read back.
    decode_router(document, "zarr.json", catalog.layout.sha256)
    named = record_of(document)
    total = named.size + sum(map(len, objects.values()))
    entry = RouterEntry(revision=named.sha256, size=named.size, stored_bytes=total)
    return entry, {**objects, "zarr.json": document}


def _refuse_unknown(tasks: tuple[str, ...], catalog: Catalog, location: str) -> None:
    """Refuse a router's tasks that a bank lacks.

    Raises:
        TaskNotFoundError: names them.
    """
    missing = [task for task in tasks if task not in catalog.tasks]
    if missing:
        named = ", ".join(map(repr, missing))
        raise TaskNotFoundError(
            f"the router knows tasks that {location} lacks: {named}; add them to the bank, or "
            "leave them out of the router (router.without_task)"
        )


def _entry(routers: Routers, name: str, location: str) -> RouterEntry:
    try:
        return routers[name]
    except KeyError:
        known = ", ".join(map(repr, sorted(routers))) or "none yet"
        raise RouterNotFoundError(f"{location} has no router {name!r}; it has {known}") from None


@final
class StoredRouter:
    """A router as it is stored; nothing is read before it is asked for."""

    def __init__(self, storage: Storage, catalog: Catalog, name: str) -> None:
        """Find it in the catalog.

        Raises:
            RouterNotFoundError: the bank has no router of that name.
        """
        self._storage, self._catalog, self.name = storage, catalog, name
        self.entry = _entry(catalog.routers, name, storage.location)
        self.folder = f"routers/{name}/{self.entry.revision}"

    @property
    def revision(self) -> str:
        """SHA-256 of the router's document, by which the revision is named."""
        return self.entry.revision

    @property
    def stored_bytes(self) -> int:
        """Size of all objects of this revision, in bytes."""
        return self.entry.stored_bytes

    @cached_property
    def document(self) -> RouterRevision:
        """The router's document.

        Raises:
            CorruptionError: it is missing, damaged, or contradicts itself or the bank.
        """
        key = f"{self.folder}/zarr.json"
        data = read_stored(self._storage, key, ObjectRecord(self.entry.size, self.revision))
        return decode_router(data, key, self._catalog.layout.sha256)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it knows."""
        return tuple(task.name for task in self.document.tasks)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of its tasks that the bank lacks."""
        return tuple(task for task in self.tasks if task not in self._catalog.tasks)

    @property
    def replaced(self) -> tuple[str, ...]:
        """Those of its tasks of which the bank has another revision than the router was added to.

        A router compares features of the base, which such a change leaves as they are.
        """
        return tuple(
            task.name
            for task in self.document.tasks
            if task.name in self._catalog.tasks
            and self._catalog.tasks[task.name].revision != task.revision
        )

    def objects(self) -> dict[str, ObjectRecord]:
        """All objects by their keys in the bank: documents first, the router's own last."""
        objects = documents_first(dict(sorted(self.document.objects.items())))
        records = {f"{self.folder}/{key}": record for key, record in objects}
        return records | {f"{self.folder}/zarr.json": ObjectRecord(self.entry.size, self.revision)}

    def load(self, *, partial: bool = False) -> Router:
        """Read the router.

        Args:
            partial: whether to take a router that knows tasks the bank lacks.

        Raises:
            TaskNotFoundError: it knows tasks that the bank lacks; names them.
            CorruptionError: what is stored is missing or damaged.
            TooLargeError: its arrays take more memory than there is, all together.
        """
        document = self.document
        if not partial:
            _refuse_unknown(self.tasks, self._catalog, self._storage.location)
        arrays = Extras(self._storage, self.folder, None, document.extras, document.objects)
        refuse_too_large(
            _LOADED_BYTES * sum(extra.size for extra in document.extras),
            f"{self._storage.location}: router {self.name!r}", "ask a machine that has more",
        )  # fmt: skip
        checked = {name: self._checked(name, arrays[name], document) for name in arrays}
        metric = Metric(checked[CENTRE], checked[MATRIX]) if MATRIX in checked else None
        recipe = Recipe(document.recipe.at, document.recipe.pooling, document.recipe.width)
        rejection = document.rejection
        return Router(
            self.tasks,
            recipe,
            _method(document),
            checked[KEYS].astype(np.float32),
            checked[OWNERS],
            document.spread,
            metric,
            None if rejection is None else Rejection(rejection.evidence, rejection.distance),
        )

    def _checked(self, name: str, array: NDArray[Any], document: RouterRevision) -> NDArray[Any]:
        if name != OWNERS:
            if not np.isfinite(array).all():
                refuse_array(self.folder, f"{name} holds NaN or infinity")
            return array
        counts = np.arange(len(document.tasks))
        if not (np.diff(array) >= 0).all() or not np.array_equal(np.unique(array), counts):
            refuse_array(self.folder, "its tasks do not own the keys in order, each at least one")
        return array


def _method(document: RouterRevision) -> FitOptions:
    """How the router was fitted, as far as this version knows that way; for ``with_task``."""
    try:
        method = FitOptions.from_json(document.method)
    except UsageError:
        method = FitOptions("euclidean" if len(document.extras) == 2 else "discriminant")
    changes: dict[str, Any] = {"neighbours": document.neighbours}
    return FitOptions(**{**method.to_json(), **changes})
