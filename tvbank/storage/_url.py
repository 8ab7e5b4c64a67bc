"""URLs of stores: what is shown of them, and credentials that do not belong there."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tvbank.errors import UsageError

#: Schemes in which what stands before ``@`` is no secret: a container, a repository, a login.
_NAMES_BEFORE_AT = {"abfs", "abfss", "adl", "azure", "github", "sftp", "smb", "ssh"}

_AUTHORITY = re.compile(r"(?<=://)[^/?#\s]*@")
_QUERY = re.compile(r"(?<=[^\s?#])[?#]\S*")


def redact(text: str) -> str:
    """A text without what may be secret in the URLs that it holds: users, passwords, queries."""
    return _QUERY.sub("", _AUTHORITY.sub("", text)) if "://" in text else text


def refuse_credentials(url: str) -> str:
    """Return a URL without a slash at its end, if it holds nothing that may be secret.

    Raises:
        UsageError: it has a user, a password, a query or a fragment, none of which is shown; or it
            names nothing.
    """
    try:
        parts = urlsplit(url)
        user, password = parts.username, parts.password
    except ValueError as error:
        raise UsageError(f"{redact(url)} is not a URL: {error}") from None
    named = parts.scheme.lower() in _NAMES_BEFORE_AT
    if (password and parts.scheme.lower() != "github") or (user and not named):
        raise UsageError(
            f"{redact(url)}: a URL here must not hold a user or password: give them to the "
            "store's client, as by its environment variables"
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"{redact(url)}: a URL here must not have a query or a fragment: give signatures to "
            "the store's client, as by its environment variables"
        )
    if not parts.scheme or not (parts.netloc or parts.path):
        raise UsageError(f"{redact(url)} is the URL of no place: give one such as s3://bucket/bank")
    return url.rstrip("/")
