"""A revision document, and the objects that its extras call for: tvbank and the reference agree."""

from __future__ import annotations

from collections.abc import Iterator

from spec.reference.bank import _check_objects
from spec.reference.documents import Revision as SlowRevision
from spec.reference.documents import read_revision
from spec.reference.products import CHUNK, DOCUMENT
from tools.fuzz import _documents
from tools.fuzz._agreement import attempt
from tvbank.bank.documents import Revision, decode_revision
from tvbank.bank.extras import check_extras

mutate = _documents.mutate


def seeds() -> Iterator[bytes]:
    return _documents.seeds(lambda key: key.startswith("tasks/") and key.count("/") == 3)


def _fast(data: bytes) -> Revision:
    revision = decode_revision(data, "key", "task")
    check_extras(revision, "key", "task")
    return revision


def _slow(data: bytes) -> SlowRevision:
    revision = read_revision(data)
    products = {DOCUMENT, CHUNK} if revision.products else set()
    _check_objects({"delta/zarr.json"} | products, revision.extras, revision.objects)
    return revision


def check(data: bytes) -> None:
    fast, slow = attempt(lambda: _fast(data)), attempt(lambda: _slow(data))
    if not _documents.agree(data, fast, slow, same_reason=False):
        return
    for key in fast.read.objects:
        assert not key.startswith("/")
        assert ".." not in key.split("/")
    assert fast.read.metadata == slow.read.metadata
    assert [(extra.name, extra.dtype, extra.shape) for extra in fast.read.extras] == [
        (extra.name, extra.dtype, extra.shape) for extra in slow.read.extras
    ]
    assert [
        (p.unit, p.dtype, p.rank, p.scale, p.transposed, p.bytes) for p in fast.read.products
    ] == [tuple(product) for product in slow.read.products]
    assert {key: (each.size, each.sha256) for key, each in fast.read.objects.items()} == {
        key: tuple(each) for key, each in slow.read.objects.items()
    }
