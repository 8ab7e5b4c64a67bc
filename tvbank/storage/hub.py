"""A store in a repository of the Hugging Face hub, at one commit of it; read only.

``hf://org/repo[@revision][/path]``, ``hf://datasets/…`` and ``hf://spaces/…``. The revision becomes
a commit at the first request, so that all that is read afterwards is of one state, whatever is
pushed meanwhile. Ranges come from where the hub sends its clients, which is another host; the token
stays with the first (obstore's client drops it when a redirect leaves the host).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import final
from urllib.parse import quote

from tvbank._version import __version__
from tvbank.errors import StorageError, UsageError
from tvbank.storage._shown import refuse_credentials
from tvbank.storage._storage import ByteRange, ReadOnlyStorage, StoredObject
from tvbank.storage.objects import ObjectStorage

__all__ = ["HubStorage", "hub_endpoint", "hub_token", "parse_hub_url"]

_ENDPOINT = "https://huggingface.co"

#: Bytes of what the hub says of a revision: its files are listed in it.
_LARGEST = 2**28

_URL = re.compile(
    r"hf://(?:(?P<kind>models|datasets|spaces)/)?(?P<repo>[\w][\w.-]*/[\w][\w.-]*)"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/@]+|[^/@]+))?(?:/(?P<path>.*))?",
    re.IGNORECASE | re.DOTALL,
)
_COMMIT = re.compile(r"[0-9a-f]{40}")


@final
class Repository:
    """A repository of the hub, and a revision of it.

    Attributes:
        kind: ``models``, ``datasets`` or ``spaces``.
        name: ``org/repo``.
        revision: a branch, a tag, a commit, or such as ``refs/pr/1``.
        path: of a folder in it; empty for all of it.
    """

    def __init__(self, kind: str, name: str, revision: str, path: str) -> None:
        self.kind, self.name, self.revision, self.path = kind, name, revision, path

    @property
    def about(self) -> str:
        """The URL under which the hub tells the revision's commit."""
        revision = quote(self.revision, safe="")
        return f"{hub_endpoint()}/api/{self.kind}/{self.name}/revision/{revision}"

    def files(self, commit: str) -> str:
        """The URL below which the hub has the files of a commit."""
        kind = "" if self.kind == "models" else f"{self.kind}/"
        folder = "".join(f"/{quote(part)}" for part in self.path.split("/") if part)
        return f"{hub_endpoint()}/{kind}{self.name}/resolve/{commit}{folder}"


def parse_hub_url(url: str) -> Repository:
    """What a URL of the hub names.

    Raises:
        UsageError: it names no repository.
    """
    match = _URL.fullmatch(url)
    parts = (match["path"] or "").split("/") if match else []
    if match is None or ".." in parts or "." in parts:
        raise UsageError(
            f"{url} names no repository of the hub: give one such as hf://org/repo/folder, or with "
            "a branch, tag or commit hf://org/repo@revision/folder"
        )
    revision = (match["revision"] or "main").replace("%2F", "/").replace("%2f", "/")
    kind = (match["kind"] or "models").lower()
    return Repository(kind, match["repo"], revision, "/".join(filter(None, parts)))


def hub_endpoint() -> str:
    """Where the hub is: what ``HF_ENDPOINT`` says, for mirrors and for tests.

    Raises:
        UsageError: that is no URL, or holds credentials.
    """
    place = os.environ.get("HF_ENDPOINT", "").strip().rstrip("/") or _ENDPOINT
    if not place.lower().startswith(("https://", "http://")):
        raise UsageError("HF_ENDPOINT is not the URL of a hub: give one such as https://host")
    return refuse_credentials(place)


def hub_token() -> str | None:
    """The user's token, where the hub's libraries keep it; ``None`` for what all may read.

    Without ``huggingface_hub`` those are ``HF_TOKEN`` and the file that ``hf auth login`` writes.
    """
    try:
        from huggingface_hub import get_token
    except ImportError:
        return _own_token()
    try:
        return get_token()
    except Exception:  # it may ask a server for one
        return _own_token()


def _own_token() -> str | None:
    given = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or ""
    if not given.strip():
        home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
        try:
            given = Path(os.environ.get("HF_TOKEN_PATH") or Path(home, "token")).read_text()
        except (OSError, ValueError):
            return None
    return given.strip() or None


@final
class HubStorage(ReadOnlyStorage):
    """Objects below one folder of a repository, as one commit has them."""

    parallel = ObjectStorage.parallel
    locks = False

    def __init__(self, url: str) -> None:
        """Parse the URL; nothing is requested yet.

        Raises:
            UsageError: it names no repository, or holds credentials.
        """
        self.location = refuse_credentials(url)
        self._repository = parse_hub_url(self.location)

    def __reduce__(self) -> tuple[object, ...]:
        known = {name: value for name, value in vars(self).items() if name == "commit"}
        return HubStorage, (self.location,), known  # of the same commit, if it is known

    @cached_property
    def commit(self) -> str:
        """The commit that is read: that of the revision at the first request.

        Raises:
            StorageError: there is no such repository or revision, or it may not be read.
        """
        repository = self._repository
        if _COMMIT.fullmatch(repository.revision):
            return repository.revision
        client = self._client(repository.about)
        try:
            answer = client.get_itself(_LARGEST)
        except StorageError as error:
            problem = _explained(str(error), repository.revision)
        else:
            problem = "the hub's answer is not understood: is HF_ENDPOINT that of a hub?"
            with suppress(ValueError, TypeError, KeyError):
                commit = json.loads(answer)["sha"]
                if isinstance(commit, str) and _COMMIT.fullmatch(commit):
                    return commit
        raise StorageError(f"{self.location}: {problem}")

    def get(self, key: str, limit: int | None = None) -> bytes:
        """See ``Storage.get``."""
        return self._files.get(key, limit)

    def get_ranges(self, key: str, ranges: Sequence[ByteRange]) -> list[bytes]:
        """See ``Storage.get_ranges``."""
        return self._files.get_ranges(key, ranges)

    def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See ``Storage.get_tail``."""
        return self._files.get_tail(key, length)

    def identify(self, key: str) -> tuple[int, str]:
        """See ``Storage.identify``: the commit counts for the store's tag."""
        return self._files.identify(key)[0], f"{self.commit}/{key}"

    def refuse_read_only(self) -> None:
        """See ``Storage.refuse_read_only``."""
        raise StorageError(
            f"{self.location} can only be read: change the bank in a folder (`tvbank cp` copies it "
            "there), and write it to the hub by `tvbank push`"
        )

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """See ``Storage.list``."""
        self.refuse_read_only()
        yield from ()

    @cached_property
    def _files(self) -> ObjectStorage:
        files = self._client(self._repository.files(self.commit))
        files.location = self.location
        return files

    def _client(self, url: str) -> ObjectStorage:
        token = hub_token()
        headers = {"accept-encoding": "identity", "user-agent": f"tvbank/{__version__}"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return ObjectStorage(url, client={"default_headers": headers})


def _explained(message: str, revision: str) -> str:
    """Why the hub does not tell a commit, from what its client says."""
    if "answered 404" in message:
        return f"there is no such repository, or no revision {revision!r} of it"
    if "answered 401" in message or "answered 403" in message:
        return (
            "the hub has no such repository, or does not show it to you: log in with `hf auth "
            "login`, or set HF_TOKEN; of a gated one, ask for access on its page"
        )
    return message.rpartition("cannot ask the store: ")[2]
