"""What ``hf://`` URLs name, where the hub is, and the user's token for it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import final
from urllib.parse import quote, unquote

from tvbank.errors import UsageError
from tvbank.storage._shown import refuse_credentials

__all__ = ["Repository", "hub_endpoint", "hub_token", "parse_hub_url"]

_ENDPOINT = "https://huggingface.co"

_URL = re.compile(
    r"hf://(?:(?P<kind>models|datasets|spaces)/)?(?P<repo>[\w][\w.-]*/[\w][\w.-]*)"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/@]+|[^/@]+))?(?:/(?P<path>.*))?",
    re.IGNORECASE | re.DOTALL,
)


@final
@dataclass(frozen=True)
class Repository:
    """A folder of a repository of the hub, at a revision.

    Attributes:
        kind: ``models``, ``datasets`` or ``spaces``.
        name: ``org/repo``.
        revision: a branch, a tag, a commit, or such as ``refs/pr/1``.
        path: of the folder; empty for all of the repository.
    """

    kind: str
    name: str
    revision: str
    path: str

    @property
    def url(self) -> str:
        """How a user would name it."""
        kind = "" if self.kind == "models" else f"{self.kind}/"
        revision = "" if self.revision == "main" else f"@{quote(self.revision, safe='')}"
        return f"hf://{kind}{self.name}{revision}{self.path and '/'}{self.path}"

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
    revision = unquote(match["revision"] or "main")
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
