"""Names whose owners are imported at their first use, so that imports stay light and one way."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tvbank._imports import needed_by


def lazy_exports(package: str, owners: Mapping[str, str]) -> Callable[[str], Any]:
    """Build a module's ``__getattr__`` from a table of its public names.

    Args:
        package: the package that re-exports, as in ``__name__``.
        owners: public name -> the submodule, relative to ``package``, that defines it.

    Returns:
        A function for the module's ``__getattr__``; it imports a name's owner at its first use,
        and raises ``MissingPackageError`` where that needs a package that is not installed.
    """

    def resolve(name: str) -> Any:
        if name not in owners:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with needed_by(f"{package}.{name}"):
            return getattr(importlib.import_module(f"{package}.{owners[name]}"), name)

    return resolve


def from_above(owner: str, name: str) -> Any:
    """What an object lends from a part of the package that stands above its own.

    Users look for it on the object; its code knows the object, not the other way round.

    Args:
        owner: the module, relative to ``tvbank``.
        name: of what it defines.
    """
    with needed_by(f"tvbank.{owner}.{name}"):
        return getattr(importlib.import_module(f"tvbank.{owner}"), name)
