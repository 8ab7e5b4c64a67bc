"""A store in a repository of the Hugging Face hub, at one commit of it; read only.

``hf://org/repo[@revision][/path]``, ``hf://datasets/…`` and ``hf://spaces/…``. The revision becomes
a commit at the first request, so that all that is read afterwards is of one state, whatever is
pushed meanwhile. Ranges come from where the hub sends its clients, which is another host; the token
stays with the first (obstore's client drops it when a redirect leaves the host).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import final

from tvbank._version import __version__
from tvbank.errors import StorageError
from tvbank.storage._hub_places import hub_token, parse_hub_url
from tvbank.storage._shown import refuse_credentials
from tvbank.storage._storage import ByteRange, ReadOnlyStorage, StoredObject
from tvbank.storage.objects import ObjectStorage

__all__ = ["HubStorage"]

#: Bytes of what the hub says of a revision: its files are listed in it.
_LARGEST = 2**28

_COMMIT = re.compile(r"[0-9a-f]{40}")


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
