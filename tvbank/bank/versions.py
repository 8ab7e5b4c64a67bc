"""Versions: exact tasks whose names are one series, such as the steps of a training."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tvbank.bank.documents import CatalogEntry
from tvbank.errors import UsageError, name_some

_NUMBER = re.compile(r"([0-9]+)")


def newest(tasks: Mapping[str, CatalogEntry], prefix: str | None) -> str | None:
    """See ``Bank.newest``."""
    exact = [name for name, entry in tasks.items() if entry.element == "int32"]
    versions = [name for name in exact if name.startswith(prefix or "")]
    if prefix is None and len(series := sorted({_series(name) for name in versions})) > 1:
        raise UsageError(
            f"the exact tasks are several series, {name_some(series)}: say which is followed, by "
            "what its names begin with: prefix= (--prefix)"
        )
    return max(versions, key=_order, default=None)


def _series(name: str) -> str:
    """A name without its last number."""
    parts = _NUMBER.split(name)
    return "".join((*parts[:-2], "*", parts[-1])) if len(parts) > 1 else name


def _order(name: str) -> tuple[list[tuple[str, int]], str]:
    """Text, and the number after it, as often as there are; equal ones by the name."""
    parts = _NUMBER.split(name)
    numbers = [*map(int, parts[1::2]), -1]
    return list(zip(parts[::2], numbers, strict=True)), name
