"""The root document: tvbank and the reference agree on verdict, reason and content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from spec.reference.documents import DIGEST_PREFIX, read_root
from tools.fuzz import _documents
from tools.fuzz._agreement import attempt
from tvbank.bank.documents import decode_root

mutate = _documents.mutate


def seeds() -> Iterator[bytes]:
    return _documents.seeds(lambda key: key == "zarr.json")


def sealed(data: bytes) -> bytes:
    """The document with the digest it must have, if it begins as it must."""
    start, stop = len(DIGEST_PREFIX), len(DIGEST_PREFIX) + 64
    if not data.startswith(DIGEST_PREFIX) or data[stop : stop + 1] != b'"':
        return data
    blank = data[:start] + b"0" * 64 + data[stop:]
    return data[:start] + hashlib.sha256(blank).hexdigest().encode() + data[stop:]


def check(data: bytes) -> None:
    for document in {data, sealed(data)}:
        fast = attempt(lambda document=document: decode_root(document))
        slow = attempt(lambda document=document: read_root(document))
        if not _documents.agree(document, fast, slow, same_reason=True):
            continue
        assert fast.read.generation == slow.read.generation
        assert list(fast.read.tasks) == list(slow.read.tasks)
        for name, entry in fast.read.tasks.items():
            other = slow.read.tasks[name]
            assert (entry.revision, entry.size) == (other.revision.sha256, other.revision.size)
            assert [each and (each.size, each.sha256) for each in entry.shards] == [
                each and tuple(each) for each in other.shards
            ]
            assert (entry.element, entry.nonzeros, entry.parameters, entry.stored_bytes) == (
                other.element, other.nonzeros, other.parameters, other.stored_bytes
            )  # fmt: skip
            assert list(entry.replaced) == other.replaced
            assert entry.compressor == other.compressor
