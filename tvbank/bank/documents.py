"""The JSON documents of a bank: what they hold, their limits, and how they are read and written.

See spec/container.md, "The root document" and "The revision document".
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec
from msgspec import Meta

from tvbank.bank.chains import CHAINS, ParentRecord, check_chains
from tvbank.bank.names import check_task_name
from tvbank.bank.product_records import FEATURE, PACKED_FEATURE, ProductRecord
from tvbank.coding.header import FRAME_2, GIVEN_BASE
from tvbank.errors import CorruptionError, FormatError, InvalidNameError, UnsupportedError
from tvbank.layout import (
    MAX_UNITS,
    Digest,
    Dtype,
    Layout,
    Shape,
    Size,
    UnitName,
    check_shape,
    check_unit_name,
)
from tvbank.layout import encode_document as encode_document

ROOT = "zarr.json"
LAYOUT = "base/zarr.json"

#: The version of a bank of which no task needs a feature; and the one of those where one does.
FORMAT, FEATURED_FORMAT = "1.0", "1.1"
MAX_DOCUMENT_BYTES = 256 * 2**20

#: Names in ``required_features`` that this reader understands; see spec/README.md, "Features".
KNOWN_FEATURES: frozenset[str] = frozenset({CHAINS, FEATURE, FRAME_2, GIVEN_BASE, PACKED_FEATURE})

_HEAD = b'{"attributes":{"tvbank":{"digest":"'
_DIGEST_AT = len(_HEAD)
_HEAD_AND_DIGEST = re.compile(re.escape(_HEAD) + b'([0-9a-f]{64})"')

#: What stands in the digest's place while the root document's digest is taken.
BLANK_DIGEST = "0" * 64

Element = Literal["float32", "int32"]
Bytes = Annotated[int, Meta(ge=0, le=2**53)]
_NUMBER = "(0|[1-9][0-9]{0,14})"
_DOCUMENT_KEY = rf"(delta|extras|extras/{_NUMBER}|products)/zarr\.json"
_OBJECT_KEY = rf"^({_DOCUMENT_KEY}|extras/{_NUMBER}/c(/{_NUMBER}){{0,32}}|products/c/0)\Z"

#: The key of an object below its revision's folder; none leads out of it.
ObjectKey = Annotated[str, Meta(pattern=_OBJECT_KEY)]
JSON = dict[str, Any]


class ObjectRecord(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 of one stored object."""

    size: Bytes
    sha256: Digest


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the catalog says of one task.

    A shard that is ``None`` holds zeros only. ``parameters`` counts the entries of all units that
    the task covers, extras included; ``replaced`` names the layout's units that it keeps whole;
    ``features`` what a reader must know to read it, and is left out of a task that needs none;
    ``parent`` the exact task from whose state its steps lead, and is left out if that is the base.
    """

    revision: Digest
    size: Annotated[int, Meta(ge=1, le=MAX_DOCUMENT_BYTES)]
    element: Element
    shards: tuple[ObjectRecord | None, ...]
    nonzeros: Size
    parameters: Size
    stored_bytes: Bytes
    replaced: tuple[UnitName, ...]
    compressor: JSON
    features: tuple[str, ...] = ()
    parent: ParentRecord | None = None


class RouterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalog says of one router; ``size`` is that of its document."""

    revision: Digest
    size: Annotated[int, Meta(ge=1, le=MAX_DOCUMENT_BYTES)]
    stored_bytes: Bytes


class Catalog(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The root document's attributes; ``digest`` covers the whole document.

    A catalog without routers is written without that member.
    """

    digest: Digest
    format: str
    required_features: tuple[str, ...]
    generation: Annotated[int, Meta(ge=0, le=2**53)]
    layout: ObjectRecord
    tasks: dict[str, CatalogEntry]
    routers: dict[str, RouterEntry] = {}


def empty_catalog(layout: bytes) -> Catalog:
    """The catalog of a new bank with this layout document."""
    return Catalog(
        digest=BLANK_DIGEST, format=FORMAT, required_features=(), generation=0,
        layout=record_of(layout), tasks={},
    )  # fmt: skip


class ExtraRecord(msgspec.Struct, frozen=True):
    """A unit kept whole: its position in the list is the name of its array."""

    name: UnitName
    dtype: Dtype
    shape: Shape

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class Revision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All about one revision of one task; ``objects`` are all but the shards.

    ``adapter`` says what adapter it was made from, so that it can be written out again; ``state``,
    of an exact task, has the SHA-256 of the new weights of each unit that it changes.
    """

    layout: Digest
    element: Element
    shards: tuple[ObjectRecord | None, ...]
    nonzeros: Size
    objects: dict[ObjectKey, ObjectRecord]
    extras: Annotated[tuple[ExtraRecord, ...], Meta(max_length=MAX_UNITS)]
    compressor: JSON
    metadata: JSON
    features: tuple[str, ...] = ()
    products: Annotated[tuple[ProductRecord, ...], Meta(max_length=MAX_UNITS)] = ()
    adapter: JSON = {}
    parent: ParentRecord | None = None
    state: dict[UnitName, Digest] | None = None


_Body = TypeVar("_Body", bound=msgspec.Struct)
_Value = TypeVar("_Value")


class _Attributes(msgspec.Struct, Generic[_Body], frozen=True):
    tvbank: _Body


class _Document(msgspec.Struct, Generic[_Body], frozen=True):
    attributes: _Attributes[_Body]
    node_type: Literal["group"]
    zarr_format: Literal[3]


class _Version(msgspec.Struct):
    format: Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\Z")]
    required_features: tuple[str, ...]


def with_features(catalog: Catalog) -> Catalog:
    """The catalog, requiring what its tasks need beside what it requires already.

    A bank stays 1.0 until then, and stays 1.1 when the last such task is gone.
    """
    needed = {name for entry in catalog.tasks.values() for name in entry.features}
    lacking = needed - {*catalog.required_features}
    if not lacking:
        return catalog
    return msgspec.structs.replace(
        catalog,
        format=FEATURED_FORMAT,
        required_features=tuple(sorted({*catalog.required_features} | lacking)),
    )


def encode_root(catalog: Catalog) -> bytes:
    """The root document, its digest filled in."""
    data = encode_document(msgspec.structs.replace(catalog, digest=BLANK_DIGEST))
    return with_digest(data, hashlib.sha256(data).hexdigest())


def decode_root(data: bytes) -> Catalog:
    """Parse and check the root document.

    Raises:
        CorruptionError: ``document-syntax``, ``document-digest``, ``limit``, ``name``, ``layout``
            or ``chain``.
        UnsupportedError: ``version`` or ``feature``.
    """
    _check_version(decode_document(data, _Version, ROOT))
    _check_digest(data)
    catalog = decode_document(data, Catalog, ROOT)
    for name, entry in catalog.tasks.items():
        _check_compressor(entry.compressor, ROOT, name)
    _check_names(catalog.tasks, "task")
    _check_names(catalog.routers, "router")
    for name, entry in catalog.tasks.items():
        try:
            for unit in entry.replaced:
                check_unit_name(unit)
        except FormatError as error:
            raise CorruptionError(error.reason, f"{ROOT}: {error}", key=ROOT, task=name) from error
    for name, entry in catalog.tasks.items():
        if not {*entry.features} <= {*catalog.required_features}:
            raise CorruptionError(
                "layout",
                f"task {name!r} needs features that {ROOT} does not require: "
                f"{', '.join(map(repr, entry.features))}",
                key=ROOT, task=name,
            )  # fmt: skip
    check_chains(catalog.tasks, ROOT)
    return catalog


def _check_names(named: Collection[str], what: str) -> None:
    for name in named:
        try:
            check_task_name(name, what)
        except InvalidNameError as error:
            raise CorruptionError("name", f"{ROOT}: {error}", key=ROOT) from error
    if len({name.lower() for name in named}) != len(named):
        raise CorruptionError("name", f"{ROOT}: two {what}s' names differ in case only", key=ROOT)


def decode_layout(data: bytes) -> Layout:
    """Parse and check the layout document.

    Raises:
        CorruptionError: ``document-syntax`` or ``limit``.
        FormatError: ``layout``, ``limit`` or ``name``.
    """
    layout = decode_document(data, Layout, LAYOUT)
    layout.check()
    vars(layout)["document"] = data
    return layout


def decode_revision(data: bytes, key: str, task: str) -> Revision:
    """Parse and check a revision document.

    Raises:
        CorruptionError: ``document-syntax``, ``limit``, ``name`` or ``layout``.
    """
    revision = decode_document(data, Revision, key, task)
    _check_compressor(revision.compressor, key, task)
    try:
        for extra in revision.extras:
            check_unit_name(extra.name)
            check_shape(extra.name, extra.shape)
        if len({extra.name for extra in revision.extras}) != len(revision.extras):
            raise FormatError("layout", "an extra's name stands there twice")
    except FormatError as error:
        raise CorruptionError(error.reason, f"{key}: {error}", key=key, task=task) from error
    return revision


def documents_first(objects: Mapping[str, _Value]) -> list[tuple[str, _Value]]:
    """Objects by key, the zarr documents before the others, which some stores insist on."""
    return sorted(objects.items(), key=lambda item: not item[0].endswith("zarr.json"))


def record_of(data: bytes) -> ObjectRecord:
    """Size and digest of an object to be stored."""
    return ObjectRecord(len(data), hashlib.sha256(data).hexdigest())


def with_digest(data: bytes, digest: str) -> bytes:
    """A root document with another digest in the digest's place."""
    return data[:_DIGEST_AT] + digest.encode() + data[_DIGEST_AT + 64 :]


def _check_digest(data: bytes) -> None:
    head = _HEAD_AND_DIGEST.match(data)
    if not head:
        raise CorruptionError(
            "document-syntax",
            f"{ROOT} does not begin with its digest: zarr or another tool rewrote it, as when "
            "metadata are consolidated or an attribute is set",
            key=ROOT,
        )
    blank = with_digest(data, BLANK_DIGEST)
    if hashlib.sha256(blank).hexdigest().encode() != head[1]:
        raise CorruptionError(
            "document-digest",
            f"{ROOT} does not have the digest it states: it was damaged, or edited by hand or by "
            "another tool",
            key=ROOT,
        )


def _check_compressor(compressor: JSON, key: str, task: str | None) -> None:
    name = compressor.get("name")
    if not isinstance(name, str) or not name:
        raise CorruptionError(
            "document-syntax", f"{key}: a compressor has no name", key=key, task=task
        )


def is_written(version: str) -> bool:
    """Whether this tvbank knows all that a bank of this version may hold, and so may change it."""
    return version in (FORMAT, FEATURED_FORMAT)


def _check_version(version: _Version) -> None:
    major = int(version.format.partition(".")[0])
    if major != int(FORMAT.partition(".")[0]):
        raise UnsupportedError(
            "version",
            f"the bank has format {version.format}, this tvbank reads {FORMAT} and later minor "
            "versions of it: install a tvbank that reads the bank's",
        )
    unknown = sorted(set(version.required_features) - KNOWN_FEATURES)
    if unknown:
        raise UnsupportedError(
            "feature",
            f"the bank needs {', '.join(map(repr, unknown))}, which this tvbank does not know: "
            "install a newer tvbank",
        )


@cache
def _decoder(kind: type[_Body]) -> msgspec.json.Decoder[_Document[_Body]]:
    return msgspec.json.Decoder(_Document[kind])  # type: ignore[valid-type]


def decode_document(data: bytes, kind: type[_Body], key: str, task: str | None = None) -> _Body:
    """The ``tvbank`` attributes of a group document, as a checked struct.

    Raises:
        CorruptionError: ``document-syntax`` or ``limit``.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise CorruptionError(
            "limit", f"{key} has {len(data)} bytes, over {MAX_DOCUMENT_BYTES}", key=key, task=task
        )
    try:
        data.decode()  # the parser skips members that it does not know without looking inside
        body: _Body = _decoder(kind).decode(data).attributes.tvbank
        return body
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptionError(
            "document-syntax", f"{key} is not what it should be: {error}", key=key, task=task
        ) from error
