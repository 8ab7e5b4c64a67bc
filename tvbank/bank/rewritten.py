"""The bytes that a document had before another tool rewrote it, found again and proved.

Tools for zarr write documents anew when metadata are consolidated or an attribute is set: with
other white space, in another order, with members of their own. What the document says for tvbank is
still in it, and tvbank writes the same content as the same bytes; so there are few candidates for
what it was, and the digest that is recorded elsewhere (of the root document: in itself) says which
of them it was, if any.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from tvbank.bank.documents import (
    BLANK_DIGEST,
    MAX_DOCUMENT_BYTES,
    ROOT,
    Catalog,
    decode_document,
    encode_document,
    with_digest,
)
from tvbank.errors import CorruptionError


def original_of(data: bytes, kind: type[msgspec.Struct], sha256: str) -> bytes | None:
    """The document with this digest of which another one was made; None if none can be found.

    Args:
        data: what lies there now; may be anything.
        kind: what the document holds.
        sha256: its digest, as it was recorded.
    """
    every = (data, *_candidates(data, kind, {}))
    return next((each for each in every if hashlib.sha256(each).hexdigest() == sha256), None)


def original_root(data: bytes) -> bytes | None:
    """The same of the root document, which states its own digest."""
    stated = body_of(data).get("digest")
    if not isinstance(stated, str):
        return None
    for candidate in _candidates(data, Catalog, {"digest": BLANK_DIGEST}):
        if hashlib.sha256(candidate).hexdigest() == stated:
            return with_digest(candidate, stated)
    return None


def body_of(data: bytes) -> dict[str, Any]:
    """The ``tvbank`` attributes of a group document, unchecked; none of anything else."""
    if len(data) > MAX_DOCUMENT_BYTES:
        return {}
    try:
        found = msgspec.json.decode(data)["attributes"]["tvbank"]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, LookupError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _candidates(
    data: bytes, kind: type[msgspec.Struct], changes: dict[str, Any]
) -> Iterator[bytes]:
    """What a document may have been: as this version writes it, and as other writers may have.

    Args:
        data: what lies there now.
        kind: what the document holds.
        changes: members to set; they come first.
    """
    try:
        body = decode_document(data, kind, ROOT)
        yield encode_document(msgspec.structs.replace(body, **changes))
    except CorruptionError:
        pass
    raw = changes | body_of(data) | changes  # a later version may have members unknown here
    document = {"attributes": {"tvbank": raw}, "node_type": "group", "zarr_format": 3}
    yield msgspec.json.encode(document)
    yield msgspec.json.encode(document, order="sorted")
