"""The one error of the reference decoder."""

from __future__ import annotations


class Invalid(ValueError):  # noqa: N818 - the spec's word
    """Bytes that violate the specification.

    ``reason`` is one of the codes of frame.md or container.md.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


def require(condition: bool, reason: str, message: str) -> None:
    """Raise ``Invalid`` unless the condition holds."""
    if not condition:
        raise Invalid(reason, message)
