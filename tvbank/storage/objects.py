"""A store in S3, Google's or Azure's object storage, or on an HTTP server, through obstore.

Publishing is a conditional put on the root document's tag. obstore finds credentials where its
users keep them (environment variables, the machine's own role); none passes through here.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, final

from tvbank.errors import ConflictError, StorageError, UsageError
from tvbank.storage._explain import code, explain, status, untried
from tvbank.storage._storage import (
    ByteRange,
    ObjectNotFoundError,
    Storage,
    StoredObject,
    key_parts,
    refuse_credentials,
)

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_Result = TypeVar("_Result")

#: Ranges with fewer bytes than this between them are worth one request.
_COALESCE = 2**14

#: Objects of more bytes are uploaded in parts of so many.
_PART = 2**25

#: How often a request whose connection failed is tried anew, where the client does not itself.
_TRIES = 6

_CLIENT: ClientConfig = {"connect_timeout": "10s", "timeout": "15min", "read_timeout": "30s"}
_RETRY: RetryConfig = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=90),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}

#: The process in which obstore's threads run, once there are any.
_process: int | None = None


@final
class ObjectStorage(Storage):
    """Objects below one prefix of an object store, or below one path of an HTTP server."""

    parallel = 16
    locks = False

    def __init__(
        self, url: str, retry: RetryConfig | None = None, client: ClientConfig | None = None
    ) -> None:
        """Make a client; nothing is requested yet.

        Args:
            url: ``s3://bucket/prefix``, ``gs://…``, ``az://container/prefix``, ``https://…``.
            retry: how often and how long the client tries again, where not as by default.
            client: its other settings.

        Raises:
            UsageError: the URL holds credentials, or names no store.
            StorageError: obstore is missing, or was used before this process was forked.
        """
        self.location = refuse_credentials(url)
        self.read_only = url.lower().startswith(("http://", "https://"))
        _check_process()
        self._obstore = _obstore()
        options: ClientConfig = {**_CLIENT, **(client or {})}
        if url.lower().startswith("http://") or _allowed("AWS_ALLOW_HTTP"):
            options["allow_http"] = True  # options given here hide what the environment says
        settings: RetryConfig = {**_RETRY, **(retry or {})}
        problem = ""
        try:
            self._store: Any = self._obstore.store.from_url(
                self.location, client_options=options, retry_config=settings
            )
        except Exception as error:  # obstore has errors of many kinds, even TypeErrors
            problem = explain(error)
        if problem:
            raise UsageError(f"{self.location} is not the URL of a store: {problem}")

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        return self._get(key, limit)[0]

    def get_tagged(self, key: str, limit: int | None = None) -> tuple[bytes, str]:
        """See ``Storage.get_tagged``; the tag is what the store's conditional put asks for."""
        data, found = self._get(key, limit)
        known = {name: found[name] for name in ("e_tag", "version") if found.get(name)}
        return data, json.dumps(known or {"sha256": hashlib.sha256(data).hexdigest()})

    def _get(self, key: str, limit: int | None) -> tuple[bytes, dict[str, Any]]:
        def read() -> tuple[bytes, dict[str, Any]]:
            result = self._obstore.get(self._store, key)
            found = dict(result.meta)
            if limit is not None and found["size"] > limit:
                part = self._obstore.get_range(self._store, key, start=0, end=limit + 1)
                return bytes(part), found
            return bytes(result.bytes()), found

        return self._request("read", key, read)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``: neighbours in one request, others at the same time."""
        wanted = [(start, stop) for start, stop in ranges if start < stop]

        def read() -> list[bytes]:
            parts = self._obstore.get_ranges(
                self._store, key, starts=[start for start, _ in wanted],
                ends=[stop for _, stop in wanted], coalesce=_COALESCE,
            )  # fmt: skip
            return [bytes(part) for part in parts]

        try:
            found = iter(self._request("read", key, read) if wanted else [])
        except _OutOfRangeError:  # an object that is shorter than it must be
            data = self.get(key)
            found = iter([data[start:stop] for start, stop in wanted])
        return [next(found) if start < stop else b"" for start, stop in ranges]

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``: one request for the end of the object."""
        if length:
            try:
                data, found = self._tail(key, length)
            except _OutOfRangeError:  # an empty object has no last byte
                return b"", 0
            return data, found["size"]
        head = self._request("read", key, lambda: self._obstore.head(self._store, key))
        return b"", head["size"]

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``: a request for one byte, since not all servers take others."""
        try:
            found = self._tail(key, 1)[1]
        except _OutOfRangeError:
            return 0, ""
        tag = found.get("e_tag") or found.get("version") or found["last_modified"].isoformat()
        return found["size"], tag

    def _tail(self, key: str, length: int) -> tuple[bytes, dict[str, Any]]:
        def read() -> tuple[bytes, dict[str, Any]]:
            options = {"range": {"suffix": length}}
            try:
                result = self._obstore.get(self._store, key, options=options)
            except self._obstore.exceptions.NotSupportedError:  # Azure counts from the start only
                found = dict(self._obstore.head(self._store, key))
                start, stop = max(0, found["size"] - length), found["size"]
                if start == stop:
                    return b"", found
                data = self._obstore.get_range(self._store, key, start=start, end=stop)
                return bytes(data), found
            return bytes(result.bytes()), dict(result.meta)

        return self._request("read", key, read)

    def put(self, key: str, data: bytes) -> None:
        """See ``Storage.put``."""
        self._write(key, data, mode="overwrite", chunk_size=_PART)

    def put_if_unchanged(self, key: str, data: bytes, tag: str | None) -> None:
        """See ``Storage.put_if_unchanged``.

        Where the connection failed, what the store now holds decides whether the put was done.
        """
        mode = "create" if tag is None else json.loads(tag)
        if mode != "create" and "sha256" in mode:
            raise StorageError(f"{self.location}: the store gives {key!r} no tag to compare")
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
        if verb != "list":  # those are prefixes, and checked by nobody: a listing harms nothing
            key_parts(key, self.location)
        _check_process()
        for tried in range(_TRIES):
            try:
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
        if verb == "write" and (conflict or status(message) == 409):
            return ConflictError(f"{self.location}: {key!r} was changed by another writer")
        what = repr(key) if key else "the store"
        kind = _OutOfRangeError if status(message) == 416 else StorageError
        return kind(f"{self.location}: cannot {verb} {what}: {explain(error)}")


class _OutOfRangeError(StorageError):
    """A range begins after the end of its object."""


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise StorageError(
            f"banks in object stores and behind HTTP need obstore: pip install obstore ({error})"
        ) from None
    return obstore


def _allowed(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true", "yes", "on")


def _check_process() -> None:
    """Refuse a forked child: obstore's threads did not come along, and requests would hang.

    Raises:
        StorageError: says what to do instead.
    """
    global _process
    if _process is None:
        _process = os.getpid()
    if _process != os.getpid():
        raise StorageError(
            "this process was forked from one that had used a remote bank, whose connections do "
            "not survive that: start processes with multiprocessing.get_context('spawn'), or open "
            "remote banks only after forking"
        )
