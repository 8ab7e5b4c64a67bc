"""The document of a router, and the objects that its arrays call for: both readers agree."""

from __future__ import annotations

import json
from collections.abc import Iterator

from spec.reference.bank import _check_objects
from spec.reference.routers import Router as SlowRouter
from spec.reference.routers import read_router
from tools.fuzz import _documents
from tools.fuzz._agreement import attempt
from tvbank.bank.router_documents import RouterRevision, decode_router

mutate = _documents.mutate


def seeds() -> Iterator[bytes]:
    return _documents.seeds(lambda key: key.startswith("routers/") and key.count("/") == 3)


#: The bank's layout, as the sound router has it.
_LAYOUT = json.loads(
    next(
        data
        for data in _documents.seeds(lambda key: key.startswith("routers/") and key.count("/") == 3)
        if b"layout" in data
    )
)["attributes"]["tvbank"]["layout"]


def _slow(data: bytes) -> SlowRouter:
    router = read_router(data, _LAYOUT)
    _check_objects(set(), router.extras, router.objects)
    return router


def _fast(data: bytes) -> RouterRevision:
    return decode_router(data, "key", _LAYOUT)


def check(data: bytes) -> None:
    fast, slow = attempt(lambda: _fast(data)), attempt(lambda: _slow(data))
    if not _documents.agree(data, fast, slow, same_reason=False):
        return
    found, other = fast.read, slow.read
    assert [(task.name, task.revision) for task in found.tasks] == list(
        zip(other.tasks, other.revisions, strict=True)
    )
    assert (found.recipe.at, found.recipe.pooling, found.recipe.width) == (
        tuple(other.at), other.pooling, other.width
    )  # fmt: skip
    assert (found.neighbours, found.spread) == (other.neighbours, other.spread)
    rejection = found.rejection
    assert (rejection and (rejection.evidence, rejection.distance)) == other.rejection
    assert [(extra.name, extra.dtype, extra.shape) for extra in found.extras] == [
        (extra.name, extra.dtype, extra.shape) for extra in other.extras
    ]
    assert found.method == other.method
    assert {key: (each.size, each.sha256) for key, each in found.objects.items()} == {
        key: tuple(each) for key, each in other.objects.items()
    }
