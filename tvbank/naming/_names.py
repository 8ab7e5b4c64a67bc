"""``names=``: what a caller says of names, as a mapping, a function, or a file of the former."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tvbank._files import read_regular
from tvbank._json import parse_json
from tvbank.errors import UsageError

__all__ = ["Names", "names_function", "read_names"]

#: What a file of names may have in bytes.
_MAX_BYTES = 2**26

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


def read_names(source: str | os.PathLike[str]) -> dict[str, str]:
    """A mapping of the bank's names from a file.

    Args:
        source: path of a ``.json`` or ``.toml`` file that holds one flat mapping of text.

    Raises:
        UsageError: it is none, or cannot be read.
    """
    path = Path(source)
    kind = path.suffix.lower()
    if kind not in (".json", ".toml"):
        raise UsageError(f"names are given as UNIT=NAME, or by a .json or .toml file, not {source}")
    try:
        content = read_regular(path, _MAX_BYTES)
        names: object = (
            parse_json(content) if kind == ".json" else tomllib.loads(content.decode("utf-8"))
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no valid {kind[1:].upper()}: {error}") from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        quotes = "; in TOML, names with dots stand in quotes" if kind == ".toml" else ""
        raise UsageError(
            f"{path} must hold one mapping, from the bank's names to the other side's{quotes}"
        )
    return names
