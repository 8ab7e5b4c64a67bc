"""Prefixes: what stands before the names of a base in a model that holds it.

A bank that was built from a bare encoder fits a model that holds this encoder as ``bert``, or one
that ``torch.compile`` or ``DistributedDataParallel`` has wrapped: their names only begin
differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tvbank.layout import Layout

__all__ = ["common_prefixes", "names_of_units", "prefixes_before", "with_dot"]

#: Parts of names that are tried as a prefix that all have.
_DEEPEST = 4


def names_of_units(layout: Layout) -> dict[str, list[str]]:
    """Every unit's names: its own, then those that are tied to it. Units without deltas too."""
    names = {record.name: [record.name] for record in layout.records}
    for alias, owner in layout.tied.items():
        names[owner].append(alias)
    return names


def with_dot(prefix: str) -> str:
    """A prefix with its dot at the end; none stays none."""
    return f"{prefix}." if prefix and not prefix.endswith(".") else prefix


def prefixes_before(names: Sequence[str], model_names: Iterable[str]) -> list[str]:
    """What a model has before any of a unit's names."""
    prefixes = {
        name[: len(name) - len(own)]
        for name in model_names
        for own in names
        if name.endswith(f".{own}")
    }
    return sorted(prefixes)


def common_prefixes(names: Iterable[str]) -> list[str]:
    """Prefixes that all names have, from short to long, dots included."""
    every = list(names)
    first = every[0] if every else ""
    ends = [end + 1 for end, letter in enumerate(first) if letter == "."][:_DEEPEST]
    return [first[:end] for end in ends if all(name.startswith(first[:end]) for name in every)]
