"""A store in S3, Google's or Azure's object storage, or on an HTTP server, through obstore.

Publishing is a conditional put on the root document's tag. obstore finds credentials where its
users keep them (environment variables, the machine's own role); none passes through here.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, final

from tvbank.errors import ConflictError, StorageError
from tvbank.storage._answers import cut, neighbours, receive
from tvbank.storage._client import check_process, connect, describe, load_obstore
from tvbank.storage._conditions import prove, refuse_weak, where
from tvbank.storage._explain import (
    beyond_end,
    code,
    explain,
    refuses_range,
    status,
    untried,
)
from tvbank.storage._shown import refuse_credentials
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    Storage,
    StoredObject,
    key_parts,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_log = logging.getLogger(__name__)

_Result = TypeVar("_Result")

#: Requests worth having under way at once.
_PARALLEL = 16

#: Objects of more bytes are uploaded in parts of so many.
_PART = 2**25

#: How often a request whose connection failed is tried anew, where the client does not itself.
_TRIES = 6


def _tag(data: bytes, found: dict[str, Any]) -> str:
    """What the store's conditional put asks for."""
    known = {name: found[name] for name in ("e_tag", "version") if found.get(name)}
    return json.dumps(known or {"sha256": hashlib.sha256(data).hexdigest()})


@final
class ObjectStorage(Storage):
    """Objects below one prefix of an object store, or below one path of an HTTP server."""

    parallel = _PARALLEL
    locks = False

    def __init__(
        self, place: Any, retry: RetryConfig | None = None, client: ClientConfig | None = None
    ) -> None:
        """Make a client, or take one; nothing is requested yet.

        Args:
            place: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``, ``https://…``, or
                a store of obstore's, which has settings and credentials of its own.
            retry: how often and how long the client tries again, where not as by default.
            client: its other settings.

        Raises:
            UsageError: the URL holds credentials, or names no store.
            StorageError: obstore is missing, or was used before this process was forked; or the
                AWS profile that the environment names cannot be read.
        """
        check_process()
        self._obstore = load_obstore()
        self._counts_from_end = True
        self._before_first: Callable[[], None] | None = None
        self._store: Any = place
        self._place, self._retry, self._client = place, retry, client
        self._where: object = place
        if isinstance(place, str):
            self.location = refuse_credentials(place)
            self.read_only = place.lower().startswith(("http://", "https://"))
            self._store, self._before_first = connect(self.location, retry, client)
            self._where = where(self.location)
        else:
            self.location, self.read_only = describe(place)

    def __reduce__(self) -> tuple[object, ...]:
        return ObjectStorage, (self._place, self._retry, self._client)

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        return self._get(key, limit)[0]

    def get_tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """See ``Storage.get_tagged``; the tag is what the store's conditional put asks for."""
        data, found = self._get(key, limit)
        return data, _tag(data, found)

    def get_if_changed(
        self, key: str, tag: str | None, limit: int | None = None
    ) -> tuple[bytes, str] | None:
        """See ``Storage.get_if_changed``: one request, with ``If-None-Match`` where it can be."""
        known = None if tag is None else json.loads(tag).get("e_tag")
        if not known:
            return super().get_if_changed(key, tag, limit)

        def read() -> tuple[bytes, dict[str, Any]] | None:
            try:
                result = self._obstore.get(self._store, key, options={"if_none_match": known})
            except self._obstore.exceptions.NotModifiedError:
                return None
            return receive(result, None if limit is None else limit + 1), dict(result.meta)

        answer = self._request("read", key, read)
        if answer is None or (new := _tag(*answer)) == tag:
            return None
        return answer[0], new

    def _get(self, key: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        most = None if limit is None else limit + 1

        def read() -> tuple[bytes, dict[str, Any]]:
            result = self._obstore.get(self._store, key)
            return receive(result, most), dict(result.meta)

        return self._request("read", key, read)

    def get_itself(self, most: int) -> bytes:
        """What the store's own URL answers with, of an HTTP server; at most so many bytes."""
        result: bytes = self._request(
            "ask", "", lambda: receive(self._obstore.get(self._store, ""), most)
        )
        return result

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``: neighbours in one request, others at the same time."""
        asked = neighbours([(start, stop) for start, stop in ranges if start < stop])
        starts = [start for start, _ in asked]
        if len(asked) < 2:
            parts = [self._range(key, *place) for place in asked]
        else:
            parts = list(_threads().map(lambda place: self._range(key, *place), asked))
        return [cut(starts, parts, start, stop) if start < stop else b"" for start, stop in ranges]

    def _range(self, key: str, start: int, stop: int) -> bytes:
        """One range; nothing of one that begins after the object's end."""

        def read() -> bytes:
            try:
                result = self._obstore.get(self._store, key, options={"range": (start, stop)})
            except Exception as error:
                if beyond_end(str(error)):
                    return b""
                raise
            return receive(result, stop - start)

        return self._request("read", key, read)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``: one request for the end of the object."""
        data, found = self._tail(key, max(length, 1))
        return data if length else b"", found["size"]

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``: a request for one byte, since not all servers take others."""
        found = self._tail(key, 1)[1]
        if not found["size"]:
            return 0, ""
        tag = found.get("e_tag") or found.get("version") or found["last_modified"].isoformat()
        return found["size"], tag

    def _tail(self, key: str, length: int) -> tuple[bytes, dict[str, Any]]:
        """The end of an object, and what the store says of it."""

        def read() -> tuple[bytes, dict[str, Any]]:
            if self._counts_from_end:
                try:
                    return self._answer(key, {"suffix": length}, length)
                except Exception as error:  # Azure, and some servers, count from the start only
                    if not refuses_range(error):
                        raise
            try:
                first, found = self._answer(key, (0, 1), 1)
            except Exception as error:
                if not beyond_end(str(error)):
                    raise
                return b"", self._empty(key)
            self._counts_from_end = False
            size = found["size"]
            if size == 1:
                return first, found
            return self._answer(key, (max(0, size - length), size), length)

        return self._request("read", key, read)

    def _answer(self, key: str, span: Any, most: int) -> tuple[bytes, dict[str, Any]]:
        result = self._obstore.get(self._store, key, options={"range": span})
        return receive(result, most), dict(result.meta)

    def _empty(self, key: str) -> dict[str, Any]:
        """What the store says of an object that has no first byte.

        Raises:
            StorageError: it has one after all: the server refuses every range.
        """
        try:
            size = self._obstore.head(self._store, key)["size"]
        except Exception:  # not every server answers that
            size = 0
        if size:
            raise StorageError("the server does not answer requests for ranges of bytes")
        return {"size": 0}

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``."""
        self._write(key, data, mode="overwrite", chunk_size=_PART)

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """See ``Storage.put_if_unchanged``.

        Where the connection failed, what the store now holds decides whether the put was done.
        """
        mode = "create" if tag is None else json.loads(tag)
        if tag is not None:
            refuse_weak(self.location, key, tag)
        for tried in range(_TRIES):
            try:
                self._write(key, data, again=False, mode=mode, use_multipart=False)
                return
            except StorageError as error:
                problem = error
            try:
                found: tuple[bytes, str | None] = self.get_tagged(key)
            except ObjectNotFoundError:
                found = b"", None
            except StorageError:
                break
            if found[0] == data:  # a put whose answer was lost, or the same one of another writer
                return
            if isinstance(problem, ConflictError) or found[1] != tag:
                break
            self._pause(tried)
        raise problem

    def prove(self, key: str, data: bytes, tag: str | None = None) -> None:
        """See ``Storage.prove``: two puts that must be refused, once in a process."""

        def write(mode: Any) -> None:
            self._write(key, data, mode=mode, use_multipart=False)

        prove(self._where, self.location, write)
        refuse_weak(self.location, key, tag or self.get_tagged(key)[1])

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        self.refuse_read_only()
        folder = prefix.rpartition("/")[0] or None

        def pages() -> Sequence[Any]:
            return tuple(self._obstore.list(self._store, folder))  # one that broke off starts anew

        for page in self._request("list", prefix, pages):
            for found in page:
                if found["path"].startswith(prefix):
                    modified = found["last_modified"].timestamp()
                    yield StoredObject(found["path"], found["size"], modified)

    def delete(self, key: str) -> None:
        """See ``Storage.delete``; most stores do not say whether there was an object."""
        self.refuse_read_only()
        self._request("delete", key, lambda: self._obstore.delete(self._store, key))

    def exclusive(self) -> AbstractContextManager[None]:
        """See ``Storage.exclusive``: nobody can be kept out; ``put_if_unchanged`` decides."""
        return nullcontext()

    def now(self) -> float:
        """See ``Storage.now``: the store stamps a small object that is then removed."""
        key = f"tasks/.tmp-{secrets.token_hex(8)}"
        self.put(key, b"")
        try:
            head = self._request("read", key, lambda: self._obstore.head(self._store, key))
            return float(head["last_modified"].timestamp())
        finally:
            self.delete(key)

    def _write(self, key: str, data: bytes, *, again: bool = True, **how: Any) -> None:
        self.refuse_read_only()
        self._request(
            "write", key, lambda: self._obstore.put(self._store, key, data, **how), again=again
        )

    @staticmethod
    def _pause(tried: int) -> None:
        time.sleep(random.uniform(0, 0.05 * 2**tried))

    def _request(
        self, verb: str, key: str, send: Callable[[], _Result], *, again: bool = True
    ) -> _Result:
        """Send a request; again, after a pause, if its connection failed and it may be.

        Raises:
            ObjectNotFoundError, ConflictError, StorageError: without what the client said, which
                may hold secrets, as their cause.
        """
        if verb not in ("list", "ask"):  # prefixes, and the store itself: a listing harms nothing
            key_parts(key, self.location)
        check_process()
        for tried in range(_TRIES):
            _log.debug("%s: %s %s%s", self.location, verb, key, ", again" if tried else "")
            try:
                if self._before_first is not None:
                    self._before_first()
                    self._before_first = None
                return send()
            except Exception as error:  # obstore has errors of many kinds
                problem = self._problem(verb, key, error)
                broken = untried(str(error))
            if not (again and broken and tried + 1 < _TRIES):
                break
            self._pause(tried)
        raise problem

    def _problem(self, verb: str, key: str, error: Exception) -> StorageError | ObjectNotFoundError:
        message = str(error)
        missing = isinstance(error, FileNotFoundError) and code(message) != "NoSuchBucket"
        if missing and verb in ("read", "delete"):
            return ObjectNotFoundError(f"{self.location}: no object {key!r}")
        conflict = type(error).__name__ in ("AlreadyExistsError", "PreconditionError")
        # a conditional put of what is gone is answered as if nothing had ever been there
        if verb == "write" and (conflict or missing or status(message) == 409):
            return ConflictError(f"{self.location}: {key!r} was changed by another writer")
        what = repr(key) if key else "the store"
        return StorageError(f"{self.location}: cannot {verb} {what}: {explain(error)}")


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that wait for the ranges of one object."""
    return ThreadPoolExecutor(_PARALLEL, thread_name_prefix="tvbank-ranges")
