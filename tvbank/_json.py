"""JSON that others wrote: headers of safetensors files, indices of sharded folders, manifests."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["MAX_JSON_BYTES", "parse_json"]

#: The safetensors library's limit on a header; indices are held to it too. In bytes.
MAX_JSON_BYTES = 100_000_000


def parse_json(text: bytes) -> Any:
    """Parse JSON, refusing an object that has a member twice.

    Python's parser would keep the last member, others the first: a file must not mean two things.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, or a member twice (named).
    """
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, value in members:
        if name in result:
            raise ValueError(f"{name!r} is there twice")
        result[name] = value
    return result
