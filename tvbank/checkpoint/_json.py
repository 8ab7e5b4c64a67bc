"""JSON of files that others wrote: headers of safetensors files, indices of sharded folders."""

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
    result = dict(members)
    if len(result) < len(members):
        names = [name for name, _ in members]
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"{twice!r} is there twice")
    return result
