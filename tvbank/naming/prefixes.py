"""Prefixes: what stands before the names of a base in a model that holds it.

A bank that was built from a bare encoder fits a model that holds this encoder as ``bert``, or one
that ``torch.compile`` or ``DistributedDataParallel`` has wrapped: their names only begin
differently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from tvbank.layout import Layout

__all__ = [
    "common_prefixes",
    "names_of_units",
    "other_prefixes",
    "prefixes_before",
    "with_dot",
    "without_peft",
    "without_wrappers",
]

#: Parts of names that are tried as a prefix that all have.
_DEEPEST = 4

#: What wrappers put into the names of what they wrap.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")

#: What peft puts before the names of a model, and into those of what it wraps.
_PEFT = "base_model.model."
_BASE_LAYER = "base_layer"

#: Missing names that are looked for under another prefix.
_LOOKED_FOR = 8


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


def without_wrappers(names: Iterable[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Names without what wrappers put into them.

    Returns:
        For each wrapper that is there, then for all of them: what is taken out, and each name by
        what is left of it.
    """
    every = list(names)
    there = [w for w in _WRAPPERS if any(w in name.split(".") for name in every)]
    for group in dict.fromkeys([*((wrapper,) for wrapper in there), tuple(there)]):
        if group:
            yield ".".join(group) + ".", {_without(name, group): name for name in every}


def without_peft(name: str) -> str:
    """A parameter's name, or a path, without what peft and other wrappers put into it."""
    return _without(name, (*_WRAPPERS, _BASE_LAYER)).replace(_PEFT, "", 1)


def _without(name: str, wrappers: Collection[str]) -> str:
    return ".".join(part for part in name.split(".") if part not in wrappers)


def other_prefixes(missing: Collection[str], present: Collection[str]) -> list[tuple[str, str]]:
    """What stands before the base's names, and before a checkpoint's, if that is the difference.

    At least half of the missing names must be there under the other prefix.

    Returns:
        None, or one; several if each of them fits as many names as the others: then nobody knows
        which is meant.
    """
    found: Counter[tuple[str, str]] = Counter()
    some = list(missing)[:: max(1, len(missing) // _LOOKED_FOR)][:_LOOKED_FOR]
    for name in some:
        found.update(_candidates(name, present))
    fitting: dict[tuple[str, str], int] = {}
    for (ours, theirs), _ in found.most_common(_LOOKED_FOR):
        bare = (name[len(ours) :] for name in missing if name.startswith(ours))
        count = sum(theirs + name in present for name in bare)
        if count * 2 >= len(missing):
            fitting[ours, theirs] = count
    most = max(fitting.values(), default=0)
    return [pair for pair, count in fitting.items() if count == most]


def _candidates(name: str, present: Iterable[str]) -> set[tuple[str, str]]:
    """Pairs of prefixes with which a missing name is a present one."""
    parts = name.split(".")
    pairs: dict[tuple[str, str], int] = {}
    for other in present:
        others, same = other.split("."), 0
        while same < min(len(parts), len(others)) and parts[-1 - same] == others[-1 - same]:
            same += 1
        if same:
            ours, theirs = parts[: len(parts) - same], others[: len(others) - same]
            pair = "".join(f"{p}." for p in ours), "".join(f"{p}." for p in theirs)
            pairs[pair] = max(same, pairs.get(pair, 0))
    most = max(pairs.values(), default=0)
    return {pair for pair, same in pairs.items() if same == most}
