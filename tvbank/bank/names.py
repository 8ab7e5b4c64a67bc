"""What users may name and say: names of tasks and routers, and metadata.

A name is safe as the name of a folder everywhere (spec/container.md, "Names"); metadata are an
object of JSON, of a bounded size and depth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tvbank.errors import InvalidNameError, UsageError

PATTERN = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

_DEVICES = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(10))}


def check_task_name(name: str, what: str = "task") -> str:
    """Return the name, if it is one that a task (or a router, ``what``) may have.

    Raises:
        InvalidNameError: says what is allowed.
    """
    folded = name.lower()
    allowed = re.fullmatch(PATTERN[1:-1], name) is not None and not name.endswith(".")
    reserved = folded == "zarr.json" or ".tmp-" in folded  # taken by files in the bank's folder
    if not allowed or reserved or folded.partition(".")[0] in _DEVICES:
        raise InvalidNameError(
            f"{name[:140]!r} cannot be a {what}'s name: use 1 to 128 letters, digits, '.', '_' and "
            "'-', starting with a letter or digit, not ending in '.', without '.tmp-', and neither "
            "'zarr.json' nor the name of a device"
        )
    return name


MAX_METADATA_BYTES = 2**20
MAX_METADATA_DEPTH = 32
MAX_INTEGER = 2**53


def check_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata as an object of JSON, if they are one.

    Raises:
        UsageError: says what is wrong.
    """
    if not isinstance(metadata, Mapping):
        raise UsageError("the metadata must be an object: names and JSON values")
    given = dict(metadata)
    try:
        text = msgspec.json.encode(given)
        same = msgspec.json.decode(text) == given  # NaN, tuples and the like do not come back
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise UsageError(f"the metadata is not JSON: {error}") from error
    if not same:
        raise UsageError("the metadata must be an object of JSON values with string keys")
    if len(text) > MAX_METADATA_BYTES:
        raise UsageError(f"the metadata has more than {MAX_METADATA_BYTES} bytes")
    if _depth(given) > MAX_METADATA_DEPTH:
        raise UsageError(f"the metadata is nested deeper than {MAX_METADATA_DEPTH}")
    if _largest(given) > MAX_INTEGER:
        raise UsageError("the metadata holds an integer beyond 2**53: write it as a text")
    return given


def _depth(value: Any) -> int:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inner), default=0)
    return 0


def _largest(value: Any) -> int:
    """The largest absolute value of an integer."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return max(map(_largest, inner), default=0)
    return abs(value) if isinstance(value, int) else 0
