"""Lazy re-exports (PEP 562), so that importing a package does not import numba or torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_exports(package: str, owners: Mapping[str, str]) -> Callable[[str], Any]:
    """Build a module's ``__getattr__`` from a table of its public names.

    Args:
        package: the package that re-exports, as in ``__name__``.
        owners: public name -> the submodule, relative to ``package``, that defines it.

    Returns:
        A function for the module's ``__getattr__``; it imports a name's owner at its first use.
    """

    def resolve(name: str) -> Any:
        if name not in owners:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{owners[name]}"), name)

    return resolve
