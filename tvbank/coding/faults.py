"""How a frame can be wrong: the reason codes of the spec, in the order of the checks."""

from __future__ import annotations

from tvbank.errors import FrameError

#: Every ``FrameError.reason``. Faults of the mask section come before those of the value section.
REASONS = (
    "frame-truncated",
    "frame-version",
    "element-type",
    "mask-encoding",
    "value-encoding",
    "count",
    "entries-mismatch",
    "mask-parameter",
    "value-parameter",
    "mask-section",
    "frame-trailing",
    "padding",
    "non-canonical",
    "position",
    "code",
    "table",
    "magnitude",
    "value",
    "zero-value",
)


def fault(reason: str, detail: str) -> FrameError:
    """Build the error for one violation.

    Args:
        reason: one of ``REASONS``.
        detail: what exactly is wrong, as the end of a sentence.
    """
    return FrameError(reason, f"invalid frame ({reason}): {detail}")
