"""What went wrong with a request to an object store, in a few words that hold no secret.

The client's own messages quote URLs and the bodies of answers, and those may name keys, signatures
and tokens; so of an answer only what is known to be harmless is taken, and anything else passes
``words_of``.
"""

from __future__ import annotations

import re

from tvbank.errors import TvbankError
from tvbank.storage._shown import words_of

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z -]{0,30})?)")
_CODE = re.compile(r"<Code>([A-Za-z]{1,40})</Code>")
_REGION = re.compile(r"<Region>([a-z0-9-]{1,30})</Region>")
_RETRIES = re.compile(r"after (\d+) retries")

#: What a function that finds credentials says, after the name of its error.
_PROVIDER = re.compile(r"credential provider: (?:[A-Za-z_.]+: )?([^\n]*)")

#: Requests of the client's own, for credentials.
_TOKENS = (
    "token request", "/latest/api/token", "/latest/meta-data/", "AssumeRole", "/metadata/identity",
)  # fmt: skip

_NO_CREDENTIALS = "no usable credentials: set them up for the store's client"

#: What the client says of an answer to a request for a range that is none, or of another range.
_ODD_RANGES = ("NotPartial", "NoContentRange", "UnexpectedRange", "ParseContentRange")

_NO_RANGES = "the server does not answer requests for ranges of bytes"
_OTHER_BYTES = (
    "the server sent other bytes than were asked for: a cache or gateway on the way may be at fault"
)
_OTHER_REGION = "the bucket is in another region: set AWS_REGION to that of the bucket"
_MAY_NOT = (
    "either these credentials may not do that, or there is no such object: to those who may not "
    "list its objects a store answers the same"
)
_RENEW = "the credentials are refused or have expired: renew them (`aws sso login`, for example)"

#: What the client's message holds, and what that means; the first that is found counts.
_KINDS = (
    ("kind: Timeout", "no answer in time"),
    ("TimedOut", "no answer in time"),
    ("ConnectionRefused", "the connection was refused"),
    ("dns error", "the server's name is not known"),
    ("certificate", "the server's certificate is not trusted by this machine"),
    ("ConnectionReset", "the connection was reset"),
    ("IncompleteBody", "the connection ended within the answer"),
    ("kind: Connect", "no connection to the server"),
    ("kind: Interrupted", "the connection ended within the answer"),
    ("kind: Body", "the connection ended within the answer"),
    ("builder error", "the client refuses the address (AWS_ALLOW_HTTP=true allows http://)"),
    ("following redirect", "the server redirects in a circle, or to an address of another kind"),
    ("error sending request", "the connection failed"),
    ("redirect without LOCATION", _OTHER_REGION),
    (
        "Content-Length Header missing",
        "the server answers without Content-Length (in chunks), so that sizes are not known: have "
        "it send that header, or fetch the files and open them from a disk",
    ),
    ("Range request not supported", _NO_RANGES),
    ("RangeNotSupported", _NO_RANGES),
    ("source: NotPartial", _NO_RANGES),
    *((f"source: {odd}", _OTHER_BYTES) for odd in _ODD_RANGES),
    ("not yet implemented", "the store cannot do that"),
    ("MissingAccount", "the account is not known: set AZURE_STORAGE_ACCOUNT_NAME"),
    ("credential", _NO_CREDENTIALS),
)

#: Statuses, and codes of stores, that have a remedy which their names do not tell.
_REMEDIES = {
    "301": "the bucket or file is elsewhere: give its new URL, and AWS_REGION for a bucket",
    "304": "a cache on the way answers as if an older copy were here: ask past it",
    "401": "credentials are needed: set them up for the store's client",
    "403": _MAY_NOT,
    "407": "the proxy on the way wants credentials",
    "AccessDenied": _MAY_NOT,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "PermanentRedirect": _OTHER_REGION,
    "ExpiredToken": _RENEW,
    "InvalidAccessKeyId": _RENEW,
    "InvalidToken": _RENEW,
    "SignatureDoesNotMatch": "the secret key is another, or a gateway changed the request",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "InvalidObjectState": "the object is archived: restore it first",
    "NoSuchBucket": "there is no such bucket: check its name, and the endpoint",
}


def status(message: str) -> int | None:
    """The HTTP status that a message names."""
    found = _STATUS.search(message)
    return int(found[1][:3]) if found else None


def code(message: str) -> str | None:
    """The store's own code for what went wrong, such as ``NoSuchBucket``."""
    found = _CODE.search(message)
    return found[1] if found else None


def untried(message: str) -> bool:
    """Whether a connection failed, or an answer broke off, and the client did not try again."""
    return "HttpError" in message and status(message) is None and not _RETRIES.search(message)


def beyond_end(message: str) -> bool:
    """Whether a range was refused since it begins after the object's end."""
    return status(message) == 416 or "StartTooLarge" in message


def refuses_range(error: Exception) -> bool:
    """Whether a server may have refused a request for the kind of range that it asked for."""
    message = str(error)
    return (
        type(error).__name__ == "NotSupportedError"
        or status(message) in (400, 405, 416, 501)
        or any(f"source: {sign}" in message for sign in _ODD_RANGES)
        or beyond_end(message)
    )


def explain(error: BaseException) -> str:
    """A few words on a client's error, and the remedy where there is one."""
    message = str(error)
    if isinstance(error, TvbankError):
        words = message
    elif told := _PROVIDER.search(message):
        words = f"no usable credentials: {words_of(told[1])}"
    elif any(sign in message for sign in _TOKENS):
        words = _NO_CREDENTIALS
    elif found := _STATUS.search(message):
        words = f"the server answered {found[1].strip()}"
        named = code(message)
        if named:
            words += f" ({named})"
        remedy = _REMEDIES.get(named or "") or _REMEDIES.get(found[1][:3])
        if remedy:
            words += f": {remedy}"
        if remedy == _OTHER_REGION and (region := _REGION.search(message)):
            words += f", {region[1]}"
    else:
        kinds = (words for sign, words in _KINDS if sign.lower() in message.lower())
        words = next(kinds, f"the client says: {words_of(error)}")
    if (retries := _RETRIES.search(message)) and int(retries[1]):
        words += f", tried {int(retries[1]) + 1} times"
    return words
