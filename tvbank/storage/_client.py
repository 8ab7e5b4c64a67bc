"""obstore's clients: how they are made, how patient they are, and in which process they work."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tvbank.errors import StorageError, UsageError
from tvbank.storage._aws import allowed, find_credentials, refuse_silence
from tvbank.storage._explain import explain
from tvbank.storage._shown import redact

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

_CLIENT: ClientConfig = {
    "connect_timeout": "10s",
    "timeout": "15min",
    "read_timeout": "30s",
    "default_headers": {"accept-encoding": "identity"},  # ranges are of the object as it is
}
_RETRY: RetryConfig = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=90),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}

#: What obstore's stores are, as URLs name them, and what names their bucket.
_SCHEMES = {
    "S3Store": ("s3", "bucket"),
    "GCSStore": ("gs", "bucket"),
    "AzureStore": ("az", "container_name"),
}

#: The process in which obstore's threads run, once there are any.
_process: int | None = None


def connect(
    url: str, retry: RetryConfig | None, client: ClientConfig | None
) -> tuple[Any, Callable[[], None] | None]:
    """Make the client of a URL; nothing is requested yet.

    Args:
        url: holds nothing that is secret.
        retry: how often and how long it tries again, where not as by default.
        client: its other settings.

    Returns:
        obstore's store, and what is to be asked before its first request, if anything.

    Raises:
        UsageError: the URL names no store.
        StorageError: obstore is missing; or the AWS profile that the environment names cannot be
            read.
    """
    options: ClientConfig = {**_CLIENT, **(client or {})}
    if url.lower().startswith("http://") or allowed("AWS_ALLOW_HTTP"):
        options["allow_http"] = True  # options given here hide what the environment says
    more: dict[str, Any] = {}
    first = None
    if url.lower().startswith(("s3://", "s3a://")):
        credentials = find_credentials()
        if credentials is None:
            first = refuse_silence
        else:
            more = {"credential_provider": credentials, **credentials.config}
    settings: RetryConfig = {**_RETRY, **(retry or {})}
    problem = ""
    try:
        store = load_obstore().store.from_url(
            url, client_options=options, retry_config=settings, **more
        )
    except StorageError:
        raise
    except Exception as error:  # obstore has errors of many kinds, even TypeErrors
        problem = explain(error)
    if problem:
        raise UsageError(f"{url} is not the URL of a store: {problem}")
    return store, first


def describe(store: Any) -> tuple[str, bool]:
    """How a user would name a store of obstore's, and whether it can only be read."""
    names = {kind.__name__ for kind in type(store).__mro__}
    if "HTTPStore" in names:
        return redact(str(store.url)).rstrip("/"), True
    for name, (scheme, member) in _SCHEMES.items():
        if name in names:
            parts = [str(store.config.get(member, "")), str(store.prefix or "").strip("/")]
            return f"{scheme}://{'/'.join(filter(None, parts))}", False
    return f"obstore's {type(store).__name__}", False


def load_obstore() -> Any:
    """The package.

    Raises:
        StorageError: it is missing.
    """
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise StorageError(
            f"banks in object stores and behind HTTP need obstore: pip install obstore ({error})"
        ) from None
    return obstore


def check_process() -> None:
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
