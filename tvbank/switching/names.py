"""Under which prefix a model has the names of the base.

A bank that was built from a bare encoder fits a model that holds this encoder as ``bert``, or one
that ``torch.compile`` or ``DistributedDataParallel`` has wrapped: their names only begin
differently.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tvbank.errors import BaseMismatchError, UsageError, name_some
from tvbank.layout import Layout


def names_of_units(layout: Layout) -> dict[str, list[str]]:
    """Every unit's names: its own, then those that are tied to it. Units without deltas too."""
    names = {record.name: [record.name] for record in layout.records}
    for alias, owner in layout.tied.items():
        names[owner].append(alias)
    return names


def find_prefix(layout: Layout, model_names: Collection[str], wanted: str | None) -> str:
    """Find what stands before the base's names in a model.

    Args:
        layout: of the base.
        model_names: the names of the model's state dict.
        wanted: the prefix if the caller knows it, with or without the dot at its end.

    Returns:
        The prefix with its dot, or ``""``. The base's own names win over any prefix.

    Raises:
        BaseMismatchError: the model lacks units of the base; names them.
        UsageError: several prefixes fit.
    """
    units = [names for name, names in names_of_units(layout).items() if name in layout.by_name]
    return fit_prefix(units, model_names, wanted)


def fit_prefix(
    units: Sequence[Sequence[str]], model_names: Collection[str], wanted: str | None = None
) -> str:
    """As ``find_prefix``, for units that are given by all their names; at least one unit."""
    if wanted is not None:
        prefix = f"{wanted}." if wanted and not wanted.endswith(".") else wanted
        missing = _missing(units, prefix, model_names)
        if missing:
            raise _lacking(missing, f" below {prefix!r}" if prefix else "")
        return prefix
    missing = _missing(units, "", model_names)
    if not missing:
        return ""
    candidates = _candidates(units[0], model_names)
    lacking = {prefix: _missing(units, prefix, model_names) for prefix in candidates}
    fitting = [prefix for prefix, units_missing in lacking.items() if not units_missing]
    if not fitting:
        nearest = min(lacking, key=lambda prefix: len(lacking[prefix]), default="")
        if lacking and len(lacking[nearest]) < len(missing):
            raise _lacking(lacking[nearest], f" below {nearest!r}")
        raise _lacking(missing, ", with or without a prefix")
    if len(fitting) > 1:
        shown = ", ".join(repr(prefix) for prefix in fitting[:5])
        raise UsageError(
            f"the model has the base's units {len(fitting)} times, below {shown}: "
            "say which with prefix="
        )
    return fitting[0]


def _candidates(names: Sequence[str], model_names: Collection[str]) -> list[str]:
    """What the model has before any of a unit's names."""
    prefixes = {
        name[: len(name) - len(own)]
        for name in model_names
        for own in names
        if name.endswith(f".{own}")
    }
    return sorted(prefixes)


def _missing(
    units: Sequence[Sequence[str]], prefix: str, model_names: Collection[str]
) -> list[str]:
    return [names[0] for names in units if not any(prefix + name in model_names for name in names)]


def _lacking(units: Sequence[str], where: str) -> BaseMismatchError:
    return BaseMismatchError(
        f"the model is not the base this bank was built on: it lacks {name_some(units)}{where}",
        units,
    )
