"""A store that is a session of an Icechunk repository, whose commits are the bank's history.

A bank in a session changes for that session only, until the user commits it; commits, branches and
tags are Icechunk's, and a session of an earlier commit is the bank of that time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar, final

from tvbank.errors import StorageError
from tvbank.storage._forks import renewed_in_children
from tvbank.storage._shown import redact
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    StoredObject,
    TaggedByContent,
    key_parts,
)

_Result = TypeVar("_Result")


def is_icechunk(place: object) -> bool:
    """Whether something is an Icechunk store, without importing Icechunk."""
    kind = type(place)
    return kind.__name__ == "IcechunkStore" and kind.__module__.startswith("icechunk")


@final
class IcechunkStorage(TaggedByContent):
    """The nodes of one session, as zarr's keys."""

    def __init__(self, store: Any) -> None:
        """Take the store of a session, writable or not."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        self._store, self._sync = store, sync
        self._prototype = default_buffer_prototype()
        self.read_only = bool(store.read_only)
        session = store.session
        self.location = f"icechunk://{session.branch or session.snapshot_id}"
        self._lock = renewed_in_children(self)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        return self._read(key, None if limit is None else (0, limit + 1))

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        return [self._read(key, place) if place[0] < place[1] else b"" for place in ranges]

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``; durable once the session is committed."""
        key_parts(key, self.location)
        self.refuse_read_only()
        buffer = self._prototype.buffer.from_bytes(data)
        self._call("write", key, lambda: self._sync(self._store.set(key, buffer)))

    def delete(self, key: str) -> None:
        """See ``Storage.delete``."""
        self.refuse_read_only()
        self._read(key, (0, 1))
        self._call("delete", key, lambda: self._sync(self._store.delete(key)))

    def touch(self, key: str, limit: int | None = None) -> None:
        """See ``Storage.touch``: sessions of earlier commits keep what they hold, whatever goes."""
        self._read(key, (0, 1))

    def exclusive(self) -> AbstractContextManager[Any]:
        """See ``Storage.exclusive``: among the threads that share the session.

        Sessions meet when they are committed, where Icechunk refuses the later one.
        """
        return self._lock

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""

        async def keys() -> dict[str, int]:
            try:
                below = self._store.list_prefix(prefix.rpartition("/")[0])
                found = [key async for key in below if key.startswith(prefix)]
            except Exception:  # errors are Icechunk's own where there is no such group
                found = [key async for key in self._store.list() if key.startswith(prefix)]
            return {key: await self._store.getsize(key) for key in found}

        for key, size in self._call("list", prefix, lambda: self._sync(keys())).items():
            yield StoredObject(key, size)

    def _read(self, key: str, place: ByteRange | None) -> bytes:
        from zarr.abc.store import RangeByteRequest

        key_parts(key, self.location)
        document = key.endswith("zarr.json")  # of which Icechunk cannot read past the end
        request = None if place is None or document else RangeByteRequest(*place)
        try:
            found = self._call(
                "read", key, lambda: self._sync(self._store.get(key, self._prototype, request))
            )
        except _AbsentError:  # a chunk goes with its array's document
            found = None
        if found is None:
            raise ObjectNotFoundError(f"{self.location}: no object {key!r}")
        data = bytes(found.to_bytes())
        return data[slice(*place)] if place and document else data

    def _call(self, verb: str, key: str, call: Callable[[], _Result]) -> _Result:
        try:
            return call()
        except Exception as error:
            lines = [line.strip(" |x`->") for line in redact(str(error)).splitlines()]
            words = next((line for line in lines if line), type(error).__name__)
        absent = "invalid zarr key" in words or "node not found" in words
        kind = _AbsentError if absent else StorageError
        raise kind(f"{self.location}: cannot {verb} {key!r}: {words}")


class _AbsentError(StorageError):
    """There is no such node, or the key is none of zarr's, under which there can be no object."""
