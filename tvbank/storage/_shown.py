"""What of a URL, and of a text that another library wrote, may be shown: nothing that is secret.

Places are checked before they are opened (``refuse_credentials``), so that no message of tvbank's
own can hold a password or a signature; what others say passes ``words_of``.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from tvbank.errors import UsageError, escaped

#: Schemes in which what stands before ``@`` is no secret: a container, a repository, a login.
_NAMES_BEFORE_AT = {"abfs", "abfss", "adl", "azure", "sftp", "smb", "ssh"}

#: ``github://owner:repository@revision/path``, as fsspec has it.
_REPOSITORY = re.compile(r"github://[\w.-]+:[\w.-]+@[^@:?#]*", re.IGNORECASE)

#: A user and a password, which may hold anything but a new line: what follows the colon is no port.
_LOGIN = re.compile(r"(?<=://)[^\s/?#@:\[\]]*:(?!\d{1,5}(?:[/?#\s'\"),;]|$))[^\n]*@")

#: A password that begins like a port and a path: the host behind it has letters, the user no dot.
_LOGIN_LIKE_PORT = re.compile(
    r"(?<=://)(?!localhost:)[\w-]*:\d{1,5}[/?#][^\s@]*@(?=(?:[\w-]+\.)*[A-Za-z]{2,}(?:[:/?#\s]|$))"
)

_USER = re.compile(r"(?<=://)[^/\s]*@")
_QUERY = re.compile(r"(?<=[^\s?#])[?#]\S*")

_TELLING = (
    r"(?:signature|\bsig|token|secret|passw(?:or)?d|credential|api[_-]?key|account[_-]?key"
    r"|access[_-]?key|authorization)"
)

#: Values under a telling name, such as ``X-Amz-Signature=…`` or ``"secret_access_key": "…"``; after
#: a colon the name is quoted, made of parts, or one that prose has not: "no token: log in".
_NAMED = re.compile(
    rf"""((?:[\w.-]*{_TELLING}[\w.-]*["']?\s*= | ["'][\w.-]*{_TELLING}[\w.-]*["']\s*:
    | [\w.-]*(?:[_-]{_TELLING}|{_TELLING}[_-]|password|passwd|authorization)[\w.-]*\s*:)\s*)
    (?:(?:bearer|basic)\s+)?(?:"[^"\n]*"|'[^'\n]*'|[^\s&;,"')]+)""",
    re.IGNORECASE | re.VERBOSE,
)

#: Where one URL of fsspec's chains ends and the next begins: ``simplecache::https://…``.
_LINK = re.compile(r"::(?=[A-Za-z][\w+.-]*(?:://|::))")

_GIVE = "to the store's client, as by its environment variables"


def redact(text: str) -> str:
    """A text without what may be secret: users, passwords and queries of URLs, values so named."""
    if "://" in text:
        for pattern in (_LOGIN, _LOGIN_LIKE_PORT, _USER, _QUERY):
            text = pattern.sub("", text)
    return _NAMED.sub(r"\1...", text)


def redact_url(url: str) -> str:
    """A URL without what may be secret; what stands after a space is of it, too."""
    return redact(re.sub(r"\s", "%20", url))


def words_of(error: BaseException | str) -> str:
    """The first line of another library's error, without secrets and characters that are not shown.

    Such errors quote URLs and what a server sent.
    """
    line = next((line for line in redact(str(error)).splitlines() if line.strip()), "")
    shown = escaped(line.strip())
    return shown if len(shown) <= 300 else f"{shown[:297]}..."


def refuse_credentials(url: str) -> str:
    """Return a URL without a slash at its end, if it holds nothing that may be secret.

    Raises:
        UsageError: it has a user, a password, a query or a fragment, none of which is shown; or it
            names nothing.
    """
    shown = redact_url(url)
    for link in _LINK.split(url):
        if "://" not in link:
            continue
        if _holds_login(link):
            raise UsageError(
                f"{shown}: a URL here must not hold a user or password: give them {_GIVE} (for an "
                "@ in a name write %40)"
            )
        try:
            parts = urlsplit(link)
        except ValueError:  # whose words quote the URL
            raise UsageError(f"{shown} is not a URL: its host cannot be understood") from None
        if "?" in link or "#" in link:
            raise UsageError(
                f"{shown}: a URL here must not have a query or a fragment: give signatures {_GIVE} "
                "(for a ? or # in a name write %3F or %23)"
            )
        if not parts.scheme or not (parts.netloc or parts.path):
            raise UsageError(f"{shown} is the URL of no place: give one such as s3://bucket/bank")
    return url.rstrip("/")


def _holds_login(url: str) -> bool:
    """Whether something stands before an ``@`` that ends the authority, or may be meant to."""
    plain = re.sub(r"\s", "%20", url)
    if _REPOSITORY.fullmatch(plain):
        return False
    if _LOGIN.search(plain) or _LOGIN_LIKE_PORT.search(plain):
        return True
    return bool(_USER.search(plain)) and plain.partition("://")[0].lower() not in _NAMES_BEFORE_AT
