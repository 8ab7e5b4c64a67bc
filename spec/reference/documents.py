"""The root document and the revision documents (container.md)."""

from __future__ import annotations

import hashlib
import re
from typing import Any, NamedTuple

from .chains import CHAINS, Parent, check_chains, read_parent
from .invalid import require
from .json_text import MAX_BYTES, Object, checked_text, group_attributes
from .layout import DTYPE_BYTES, MAX_LENGTH, MAX_UNITS, Tensor, require_layout, tensor
from .names import check_task_name, check_unit_name
from .products import FEATURE, PACKED_FEATURE, ProductRecord, product_record

DIGEST_PREFIX = b'{"attributes":{"tvbank":{"digest":"'
MARKER = b'{"attributes":{},"node_type":"group","zarr_format":3}'
ELEMENT = "float32|int32"
FEATURES = frozenset({CHAINS, "frame-2", "given-base", FEATURE, PACKED_FEATURE})

_VERSION = r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})"
_NUMBER = "(0|[1-9][0-9]{0,14})"
_OBJECT_KEY = (
    rf"(delta|extras|extras/{_NUMBER}|products)/zarr\.json"
    rf"|extras/{_NUMBER}/c(/{_NUMBER}){{0,32}}|products/c/0"
)


class Stored(NamedTuple):
    """Size in bytes and SHA-256 of an object."""

    size: int
    sha256: str


class Task(NamedTuple):
    """A task's entry in the catalog."""

    revision: Stored
    element: str
    shards: list[Stored | None]
    nonzeros: int
    parameters: int
    stored_bytes: int
    replaced: list[str]
    compressor: dict[str, Any]
    features: list[str]
    parent: Parent | None


class RouterEntry(NamedTuple):
    """A router's entry in the catalog."""

    revision: Stored
    stored_bytes: int


class Catalog(NamedTuple):
    """The root document."""

    format: str
    generation: int
    layout: Stored
    tasks: dict[str, Task]
    routers: dict[str, RouterEntry]


class Revision(NamedTuple):
    """A revision document."""

    layout: str
    element: str
    shards: list[Stored | None]
    nonzeros: int
    objects: dict[str, Stored]
    extras: list[Tensor]
    compressor: dict[str, Any]
    metadata: dict[str, Any]
    features: list[str]
    products: list[ProductRecord]
    parent: Parent | None
    state: dict[str, str] | None


def read_root(data: bytes) -> Catalog:
    """Check and read the root document.

    Raises:
        Invalid: ``limit``, ``document-syntax``, ``version``, ``feature``, ``document-digest``,
            ``name``, ``layout`` or ``chain``. What version and digest mean is the same in all
            versions.
    """
    root = group_attributes(data, "zarr.json")
    major = root.text("format", _VERSION).partition(".")[0]
    features = root.array("required_features")
    named = all(isinstance(feature, str) for feature in features)
    require(named, "document-syntax", "a required feature is no string")
    require(major == "1", "version", f"format {root['format']}, this reader knows 1.x")
    require(set(features) <= FEATURES, "feature", f"a required feature of {features} is unknown")
    _check_digest(data)
    tasks = root.object("tasks")
    catalog = Catalog(
        root["format"],
        root.integer("generation"),
        _stored(root.object("layout")),
        {name: _task(tasks.object(name)) for name in tasks.value},
        _routers(root),
    )
    for names in (catalog.tasks, catalog.routers):
        for name in names:
            check_task_name(name)
        distinct = len({name.lower() for name in names}) == len(names)
        require(distinct, "name", "two names differ in case only")
    for task in catalog.tasks.values():
        for unit in task.replaced:
            check_unit_name(unit)
    for name, task in catalog.tasks.items():
        required = set(task.features) <= set(features)
        require_layout(required, f"{name!r} needs features that the root does not require")
    check_chains(catalog.tasks)
    return catalog


def _check_digest(data: bytes) -> None:
    start, end = len(DIGEST_PREFIX), len(DIGEST_PREFIX) + 64
    stated = data[start:end]
    require(
        data.startswith(DIGEST_PREFIX)
        and re.fullmatch(b"[0-9a-f]{64}", stated) is not None
        and data[end : end + 1] == b'"',
        "document-syntax",
        "the root document does not begin with its digest",
    )
    found = hashlib.sha256(data[:start] + b"0" * 64 + data[end:]).hexdigest()
    intact = found.encode() == stated
    require(intact, "document-digest", "the root document does not have the digest it states")


def read_revision(data: bytes) -> Revision:
    """Check and read a revision document by itself.

    Raises:
        Invalid: ``limit``, ``document-syntax``, ``name`` or ``layout``.
    """
    body = group_attributes(data, "the revision")
    body.object("objects").object("delta/zarr.json")
    listed = body.array("extras", MAX_UNITS)
    extras = [tensor(Object(extra, "an extra"), tuple(DTYPE_BYTES)) for extra in listed]
    for extra in extras:
        check_unit_name(extra.name)
    distinct = len({extra.name for extra in extras})
    require_layout(distinct == len(extras), "an extra's name stands twice")
    return Revision(
        body.digest("layout"),
        body.text("element", ELEMENT),
        _shards(body),
        body.integer("nonzeros", 0, MAX_LENGTH),
        read_objects(body),
        extras,
        _compressor(body),
        dict(body.object("metadata").value),
        _features(body),
        _products(body),
        read_parent(body),
        _state(body),
    )


def read_objects(body: Object) -> dict[str, Stored]:
    """The objects of a revision, by keys that lead nowhere else."""
    objects = body.object("objects")
    for key in objects.value:
        fits = re.fullmatch(_OBJECT_KEY, key) is not None
        require(fits, "document-syntax", f"{key!r} is no key of a revision's object")
    return {key: _stored(objects.object(key)) for key in objects.value}


def _routers(root: Object) -> dict[str, RouterEntry]:
    """The routers' entries; a catalog without the member has none."""
    if "routers" not in root.value:
        return {}
    routers = root.object("routers")
    entries = {name: routers.object(name) for name in routers.value}
    return {
        name: RouterEntry(
            Stored(entry.integer("size", 1, MAX_BYTES), entry.digest("revision")),
            entry.integer("stored_bytes"),
        )
        for name, entry in entries.items()
    }


def _task(entry: Object) -> Task:
    return Task(
        Stored(entry.integer("size", 1, MAX_BYTES), entry.digest("revision")),
        entry.text("element", ELEMENT),
        _shards(entry),
        entry.integer("nonzeros", 0, MAX_LENGTH),
        entry.integer("parameters", 0, MAX_LENGTH),
        entry.integer("stored_bytes"),
        [checked_text(name, f"{entry.where}.replaced") for name in entry.array("replaced")],
        _compressor(entry),
        _features(entry),
        read_parent(entry),
    )


def _stored(record: Object) -> Stored:
    return Stored(record.integer("size"), record.digest("sha256"))


def _shards(body: Object) -> list[Stored | None]:
    return [
        None if shard is None else _stored(Object(shard, f"{body.where}.shards"))
        for shard in body.array("shards")
    ]


def _features(body: Object) -> list[str]:
    """What a reader must know to read a task; a missing member is none."""
    if "features" not in body.value:
        return []
    where = f"{body.where}.features"
    return [checked_text(name, where) for name in body.array("features")]


def _products(body: Object) -> list[ProductRecord]:
    """A revision's products; a missing member is none."""
    if "adapter" in body.value:
        body.object("adapter")
    if "products" not in body.value:
        return []
    listed = body.array("products", MAX_UNITS)
    return [product_record(Object(each, f"{body.where}.products")) for each in listed]


def _state(body: Object) -> dict[str, str] | None:
    """Digests of the weights that an exact task makes; a missing member is none."""
    if body.value.get("state") is None:
        return None
    state = body.object("state")
    return {name: state.digest(name) for name in state.value}


def _compressor(body: Object) -> dict[str, Any]:
    compressor = body.object("compressor")
    compressor.text("name", ".+")
    return dict(compressor.value)
