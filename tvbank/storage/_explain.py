"""What went wrong with a request to an object store, in a few words that hold no secret.

The client's own messages quote URLs and the bodies of answers, and those may name keys, signatures
and tokens; so only what is known to be harmless is taken out of them.
"""

from __future__ import annotations

import re

_STATUS = re.compile(r"status code: (\d{3}(?: [A-Z][A-Za-z -]{0,30})?)")
_CODE = re.compile(r"<Code>([A-Za-z]{1,40})</Code>")
_RETRIES = re.compile(r"after (\d+) retries")

#: What the client's message holds, and what that means; the first that is found counts.
_KINDS = (
    ("kind: Timeout", "no answer in time"),
    ("TimedOut", "no answer in time"),
    ("ConnectionRefused", "the connection was refused"),
    ("dns error", "the server's name is not known"),
    ("ConnectionReset", "the connection was reset"),
    ("IncompleteBody", "the connection ended within the answer"),
    ("kind: Connect", "no connection to the server"),
    ("kind: Interrupted", "the connection ended within the answer"),
    ("kind: Body", "the connection ended within the answer"),
    ("builder error", "the client refuses the address (AWS_ALLOW_HTTP=true allows http://)"),
    ("error sending request", "the connection failed"),
    ("Range request not supported", "the server does not answer requests for ranges of bytes"),
    ("RangeNotSupported", "the server does not answer requests for ranges of bytes"),
    ("not yet implemented", "the store cannot do that"),
    ("MissingAccount", "the account is not known: set AZURE_STORAGE_ACCOUNT_NAME"),
    ("credential", "no usable credentials: set them up for the store's client"),
)


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


def explain(error: BaseException) -> str:
    """A few words on a client's error."""
    message = str(error)
    if found := _STATUS.search(message):
        words = f"the server answered {found[1].strip()}"
        if named := code(message):
            words += f" ({named})"
    else:
        kinds = (words for sign, words in _KINDS if sign.lower() in message.lower())
        words = next(kinds, f"the client reports a {type(error).__name__}")
    if (retries := _RETRIES.search(message)) and int(retries[1]):
        words += f", tried {int(retries[1]) + 1} times"
    return words
