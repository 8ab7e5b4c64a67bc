"""``names=``: what a caller says of names, as a mapping or a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvbank.errors import UsageError

__all__ = ["Names", "names_function"]

#: Other names for the bank's: a mapping from them, or a function that is given one.
Names = Mapping[str, str] | Callable[[str], str | None]


def names_function(names: Any) -> Callable[[str], str | None]:
    """``names=`` as a function from the bank's names; what a mapping lacks stays as it is.

    Raises:
        UsageError: it is neither a mapping nor a function; or, when called, it gives no text.
    """
    if isinstance(names, Mapping):
        look_up: Callable[[str], object] = lambda name: names.get(name, name)  # noqa: E731
    elif callable(names):
        look_up = names
    else:
        raise UsageError(
            f"names must be a mapping of the bank's names, or a function, not {names!r}"
        )

    def other(name: str) -> str | None:
        theirs = look_up(name)
        if theirs is not None and not isinstance(theirs, str):
            raise UsageError(f"names gives {theirs!r} for {name!r}: give a name, or None")
        return theirs

    return other
